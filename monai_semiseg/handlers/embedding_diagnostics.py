"""Diagnostics of contrastive pretraining: alignment, uniformity, class similarity, an image."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.nn import functional

from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import atomic_path


def alignment(first: Tensor, second: Tensor) -> float:
    """Compute the mean squared distance of two views' unit embeddings ``(N, D)``.

    It is 0 where views agree.

    Wang and Isola, Understanding contrastive representation learning through alignment and
    uniformity (ICML 2020).
    """
    a, b = functional.normalize(first, dim=1), functional.normalize(second, dim=1)
    return float((a - b).square().sum(1).mean())


def uniformity(rows: Tensor) -> float:
    """Compute ``log mean exp(-2 |f_i - f_j|^2)`` over pairs of unit embeddings ``(N, D)``.

    It is 0 if all are equal, about -4 if they are spread over the sphere. Wang and Isola (ICML
    2020).
    """
    if len(rows) < 2:
        return 0.0
    distances = torch.pdist(functional.normalize(rows.double(), dim=1)).square()
    return float(distances.mul(-2).exp().mean().log())


def class_similarity(rows: Tensor, classes: Tensor) -> dict[str, float]:
    """Compute the mean cosine within and between classes.

    The keys are ``intra/c`` for class c, and ``inter``, the mean over pairs of class means.
    """
    unit = functional.normalize(rows.double(), dim=1)
    means: dict[int, Tensor] = {}
    found: dict[str, float] = {}
    for one in torch.unique(classes).tolist():
        members = unit[classes == one]
        means[one] = members.mean(0)
        pairs = len(members) * (len(members) - 1)
        if pairs:
            found[f"intra/{one}"] = float((members.sum(0).square().sum() - len(members)) / pairs)
    between = [float(a @ b) for a, b in itertools.combinations(means.values(), 2)]
    if between:
        found["inter"] = sum(between) / len(between)
    return found


def principal_picture(embeddings: Tensor) -> Tensor:
    """Show the first three principal components over a map's middle slice as colours.

    Args:
        embeddings: ``(D, spatial...)``, 2-D or 3-D.

    Returns:
        ``(H, W, 3)``, 0 to 1.
    """
    flat = embeddings.select(-1, embeddings.shape[-1] // 2) if embeddings.ndim == 4 else embeddings
    rows = functional.normalize(flat.double(), dim=0).flatten(1).T
    rows = rows - rows.mean(0)
    components = torch.linalg.svd(rows, full_matrices=False)[2][:3]
    # The sign of a component is arbitrary; this choice gives the same image every time.
    components = components * components.gather(1, components.abs().argmax(1, keepdim=True)).sign()
    shown = rows @ components.T
    low, high = shown.quantile(0.02, 0), shown.quantile(0.98, 0)
    colours: Tensor = ((shown - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return colours.reshape(*flat.shape[1:], -1)


class EmbeddingDiagnostics:
    """MONAI handler that measures the embeddings of a contrastive trainer after every epoch.

    It looks at the last batch of a :class:`~monai_semiseg.engines.contrastive.ContrastTrainer`.

    Measures go to TensorBoard (``contrast/...``), an image of the embeddings of voxels to
    ``embeddings.png``.

    Args:
        folder: of the image.
        log_dir: of TensorBoard's events; None writes none.
        sample: maximum number of embeddings for uniformity and class similarity.
        write: whether this process writes.
    """

    def __init__(
        self, folder: str, log_dir: str | None = None, sample: int = 1024, write: bool = True
    ) -> None:
        self.folder = Path(folder)
        self.log_dir = log_dir
        self.sample = sample
        self.write = write
        self.latest: dict[str, float] = {}
        self._writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Measure after every epoch."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._look)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def _look(self, engine: Engine) -> None:
        if not (hasattr(engine, "embeddings") and hasattr(engine, "labels")):
            raise ConfigError(f"a {type(engine).__name__}", expected="a contrastive trainer")
        if engine.embeddings is None or not self.write:
            return
        embeddings = engine.embeddings.detach().float().cpu()
        labels = None if engine.labels is None else engine.labels.cpu()
        self.latest = measures(embeddings, labels, self.sample)
        if embeddings.ndim > 2:
            _save(principal_picture(embeddings[0]), self.folder / "embeddings.png")
        if self.log_dir is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = self._writer or SummaryWriter(self.log_dir)
            for name, value in self.latest.items():
                self._writer.add_scalar(f"contrast/{name}", value, engine.state.iteration)

    def _close(self, _: Engine) -> None:
        if self._writer is not None:
            self._writer.close()


def measures(embeddings: Tensor, labels: Tensor | None, sample: int) -> dict[str, float]:
    """Compute all measures of the embeddings of two views.

    The views follow each other along the batch; labels are optional.
    """
    first, second = (_rows(view) for view in embeddings.chunk(2))
    step = max(1, len(first) // sample)  # evenly over all voxels: no random number is drawn
    found = {"uniformity": uniformity(first[::step])}
    if labels is None:
        return {"alignment": alignment(first, second), **found}
    classes = labels.chunk(2)[0].flatten().long()[::step]
    known = classes >= 0
    return {**found, **class_similarity(first[::step][known], classes[known])}


def _rows(view: Tensor) -> Tensor:
    """Reshape ``(B, D, spatial...)`` or ``(B, D)`` to ``(N, D)``."""
    return view.flatten(2).movedim(1, -1).flatten(0, 1) if view.ndim > 2 else view


def _save(colours: Tensor, path: Path) -> None:
    from PIL import Image

    pixels = (colours * 255).round().to(torch.uint8).numpy()
    size = (pixels.shape[1] * 6, pixels.shape[0] * 6)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
    with atomic_path(path) as part:
        image.save(part, format="PNG")
