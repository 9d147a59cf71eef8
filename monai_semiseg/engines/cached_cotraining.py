"""Co-training on cached pseudo-labels of whole scans."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_semiseg.engines.diffusion_cotraining import DiffusionCoTrainer
from monai_semiseg.engines.semisupervised import unlabelled
from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.diffusion_teacher import (
    DiffusionTeacher,
    aggregated,
    changed_shares,
    rounds_as_text,
)
from monai_semiseg.samplers.coordinates import sample_at
from monai_semiseg.transforms.labels import with_background

logger = logging.getLogger(__name__)


class PseudoLabelCache:
    """Cache of a diffusion teacher's pseudo-labels of whole scans, in float16 in CPU memory.

    An entry holds the foreground's mean probabilities and a mask of voxels where rounds disagree,
    ``(classes, spatial...)``. Outside of a scan both are 0, which means background.

    Args:
        scans: items with ``key``, ``(channels, spatial...)``, in the order of the dataset that
            :class:`~monai_semiseg.samplers.coordinates.CoordinateDataset` numbers.
        inferer: applies the teacher to a whole scan, window by window.
        key: of the image in an item.
    """

    def __init__(self, scans: Any, inferer: Inferer, key: str = "image") -> None:
        self.scans = scans
        self.inferer = inferer
        self.key = key
        self.entries: list[Tensor] = []

    @torch.no_grad()
    def refresh(
        self, teacher: DiffusionTeacher, rounds: int, seed: int, device: torch.device
    ) -> None:
        """Predict pseudo-labels of every scan, from noise of the seed.

        torch's global generator is not used.
        """
        begun = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)

        changes: list[Tensor] = []

        def predict(images: Tensor) -> Tensor:
            masks, _ = teacher.rounds(images, rounds, generator)
            changes.append(changed_shares(masks))
            mean, agreement = aggregated(masks)
            return torch.cat([mean[:, 1:], 1 - agreement], 1)

        self.entries = []
        for number in range(len(self.scans)):
            image = convert_to_tensor(self.scans[number][self.key], track_meta=False)
            entry = torch.as_tensor(self.inferer(image.to(device)[None], predict))[0]
            self.entries.append(entry.to("cpu", torch.float16))
        logger.info(
            "pseudo-labels of %d scans, %d rounds: %.1f s",
            len(self.entries),
            rounds,
            time.perf_counter() - begun,
        )
        if rounds:
            logger.info("%s", rounds_as_text(torch.stack(changes).mean(0).tolist()))

    def look_up(self, indices: Tensor, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities and agreement of scans that were moved by augmentation.

        Args:
            indices: indices of the scans, ``(B,)``.
            coordinates: coordinates of their voxels, ``(B, d + 1, spatial...)``.

        Returns:
            Probabilities ``(B, classes, spatial...)`` and agreement ``(B, 1, spatial...)``.
        """
        pairs = zip(indices.tolist(), coordinates, strict=True)
        found = torch.stack([sample_at(self.entries[index], where) for index, where in pairs])
        return with_background(found[:, :-1]), 1 - found[:, -1:]

    def state_dict(self) -> dict[str, Any]:
        """Return the cached pseudo-labels, so that a resumed training continues with them."""
        return {"entries": self.entries}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the cached pseudo-labels of a checkpoint.

        Raises:
            ValueError: If it is of another number of scans.
        """
        if state["entries"] and len(state["entries"]) != len(self.scans):
            raise ValueError(
                f"pseudo-labels of {len(state['entries'])} scans, now {len(self.scans)}"
            )
        self.entries = state["entries"]


class CachedDiffusionCoTrainer(DiffusionCoTrainer):
    """Diffusion co-training whose pseudo-labels p and agreement a come from a cache.

    Before the first step and after every ``refresh_every`` iterations, M and G run all their rounds
    on every whole unlabelled scan. Between refreshes, p and a are read from the cache and moved as
    augmentation moved the scan. So an iteration needs one pass of M less, and p always includes all
    R rounds; a refresh costs R rounds per unlabelled scan. With several processes, each refreshes
    all scans.

    Args:
        cache: of the unlabelled scans.
        refresh_every: iterations.
        settings: of :class:`~monai_semiseg.engines.diffusion_cotraining.DiffusionCoTrainer`.

    Raises:
        ConfigError: If ``refresh_every`` is less than 1.
    """

    def __init__(
        self, *, cache: PseudoLabelCache, refresh_every: int = 100, **settings: Any
    ) -> None:
        if refresh_every < 1:
            raise ConfigError(f"refresh_every {refresh_every}", expected="at least 1 iteration")
        super().__init__(**settings)
        self.cache = cache
        self.refresh_every = refresh_every

    def pseudo_labels(
        self, batch: dict[str, Tensor], rebuilds: bool
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return cached pseudo-labels; run rounds only for the images that they rebuild."""
        iteration = self.state.iteration
        if (iteration - 1) % self.refresh_every == 0:
            device = torch.device(self.state.device)
            self.cache.refresh(self.diffusion_teacher, self.rounds, iteration, device)
        indices = unlabelled(batch, "index")
        target, agreement = self.cache.look_up(indices, unlabelled(batch, "coordinates"))
        seen: list[Tensor] = []
        if rebuilds:
            _, seen = self.diffusion_teacher.rounds(unlabelled(batch, "weak"), self.rounds)
        return target, agreement, seen
