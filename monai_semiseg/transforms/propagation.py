"""Transform that gives a scan soft labels by registration of labelled scans."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_semiseg.errors import ConfigError, GeometryError
from monai_semiseg.storage.files import atomic_path
from monai_semiseg.transforms.atlas import Floats, MultiAtlas, crop_padding, digest
from monai_semiseg.transforms.registration import DemonsRegistration

logger = logging.getLogger(__name__)


class PropagateLabelsd(MapTransform):
    """Add soft labels to a scan, propagated from labelled scans (atlases) by registration.

    See :class:`~monai_semiseg.transforms.atlas.MultiAtlas` for the method. Only the foreground
    classes are stored, and the rest up to 1 is background, so zero padding is correct. NaN are
    voxels for which every atlas has the label ``ignore``.

    Args:
        keys: image ``(channels, spatial...)`` of intensities with unit variance; one key.
        atlases: labelled items with ``keys`` and ``label_key``, preprocessed as the image.
        out_channels: number of classes, background included.
        propagated_key: key of the result, ``(out_channels - 1, spatial...)``, float32, 0 to 1.
        label_key: key of the atlases' class indices, ``(1, spatial...)``.
        max_atlases: number of atlases that are registered by demons.
        cache_dir: folder for results, so that a resumed training does not register again; or None.
            The name of a file is a hash of scan, atlases and settings.
        window: standard deviation of the Gaussian mean of the differences, in voxels.
        tolerance: constant that is added to this mean.
        registration: registration of two scans, by default
            :class:`~monai_semiseg.transforms.registration.DemonsRegistration`.
        min_dice: a warning is issued if labels propagated between the labelled scans have a lower
            mean Dice.
        max_volume_ratio: a scan with a larger volume (2-D: area), relative to the largest atlas, is
            refused: most of it has no counterpart in an atlas (such as a whole head and crops of
            the hippocampus), and registration would take much longer.

    Raises:
        ConfigError: If there is no atlas, or a setting is out of range.
        GeometryError: When called, if the scan is too large for the atlases.
    """

    def __init__(
        self,
        keys: KeysCollection,
        atlases: Sequence[Mapping[Hashable, Any]],
        out_channels: int,
        propagated_key: str = "propagated",
        label_key: str = "label",
        max_atlases: int = 5,
        cache_dir: str | None = None,
        window: float = 2.0,
        tolerance: float = 0.02,
        registration: DemonsRegistration | None = None,
        min_dice: float = 0.6,
        max_volume_ratio: float = 8.0,
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 1:
            raise ConfigError(f"{len(self.keys)} keys", expected="1 key")
        self.multi_atlas = MultiAtlas(
            atlases,
            self.keys[0],
            label_key,
            out_channels,
            max_atlases,
            window,
            tolerance,
            registration or DemonsRegistration(),
        )
        self.out_channels = out_channels
        self.propagated_key = propagated_key
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.min_dice = min_dice
        self.max_volume_ratio = max_volume_ratio

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with its soft labels under ``propagated_key``."""
        out = dict(data)
        image = out[self.keys[0]]
        voxels, spacing, box = crop_padding(image)
        soft = torch.zeros((self.out_channels - 1, *image.shape[1:]))
        if voxels.ndim > 1 and voxels.size:  # a scan of zeros alone cannot be registered
            self._require_similar_extent(voxels, spacing, image)
            soft[:, *box] = self._cached(voxels, spacing).reshape(soft[:, *box].shape)
        out[self.propagated_key] = (
            MetaTensor(soft, meta=image.meta) if isinstance(image, MetaTensor) else soft
        )
        return out

    def _require_similar_extent(self, voxels: Floats, spacing: Sequence[float], image: Any) -> None:
        extent = np.multiply(voxels.shape, spacing)
        largest = max(
            (np.multiply(atlas.voxels.shape, atlas.spacing) for atlas in self.multi_atlas.atlases),
            key=np.prod,
        )
        if np.prod(extent) <= self.max_volume_ratio * np.prod(largest):
            return
        meta = image.meta if isinstance(image, MetaTensor) else {}
        unit = str(meta.get("unit", "mm"))
        raise GeometryError(
            f"a scan of {_extent(extent, unit)}, labelled scans of at most "
            f"{_extent(largest, unit)}: labels cannot be propagated",
            expected=f"at most {self.max_volume_ratio:g} times their "
            + ("area" if len(extent) == 2 else "volume"),
            remedy="crop the scan like the labelled ones, or use a method without registration",
            path=str(meta["filename_or_obj"]) if "filename_or_obj" in meta else None,
        )

    @property
    def identity(self) -> str:
        """Return a hash of the labelled scans and the settings."""
        return hashlib.sha256(self.multi_atlas.identity).hexdigest()

    def _cached(self, voxels: Floats, spacing: Sequence[float]) -> torch.Tensor:
        """Return the soft labels, from the cache if they are there.

        They are in half precision on disk, and rounded likewise without a cache.
        """
        if self.cache_dir is None:
            return self._propagated(voxels, spacing).float()
        key = self.multi_atlas.identity + digest(voxels, spacing)
        file = self.cache_dir / f"{hashlib.sha256(key).hexdigest()}.pt"
        soft = _read(file)
        if soft is None:
            soft = self._propagated(voxels, spacing)
            with atomic_path(file) as part:
                torch.save(soft, part)
        return soft.float()

    def _propagated(self, voxels: Floats, spacing: Sequence[float]) -> torch.Tensor:
        self._quality_logged  # noqa: B018 - a cached property, so that it runs once
        return torch.from_numpy(self.multi_atlas.propagate(voxels, spacing)).half()

    @cached_property
    def _quality_logged(self) -> None:
        """Log the Dice of labels propagated between labelled scans, before hours of work."""
        scores = self.multi_atlas.leave_one_out()
        if not scores:
            return
        logger.info(
            "labels propagated from labelled scans to one that is left out: Dice %s",
            [round(score, 3) for score in scores],
        )
        if np.mean(scores) < self.min_dice:
            logger.warning(
                "W_PROPAGATION poor labels (mean Dice %.2f, expected %.2f): another method may "
                "work better for these scans",
                np.mean(scores),
                self.min_dice,
            )


def _extent(lengths: Iterable[float], unit: str) -> str:
    return " x ".join(f"{length:.0f}" for length in lengths) + f" {unit}"


def _read(file: Path) -> torch.Tensor | None:
    """Return the tensor of a cache file; None if it does not exist or is damaged."""
    try:
        cached: torch.Tensor = torch.load(file, weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError):
        return None
    return cached
