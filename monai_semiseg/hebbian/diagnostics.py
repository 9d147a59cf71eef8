"""Diagnostics of Hebbian layers: change of filters, collapse, dead filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from monai_semiseg.hebbian.geometry import Convolution
from monai_semiseg.hebbian.plasticity import Sums
from monai_semiseg.storage.files import atomic_path


@dataclass(frozen=True)
class LayerReport:
    """State of a layer during learning.

    Attributes:
        change: ``||W - W_start|| / ||W_start||``.
        cosine: mean absolute cosine between two filters; 1 where all are the same (collapse).
        dead: share of filters that win less than a tenth of what an even split would give them.
        entropy: of the winners, 1 where all filters win equally often, 0 where one always does.
    """

    change: float
    cosine: float
    dead: float
    entropy: float

    @property
    def collapsed(self) -> bool:
        """Return whether filters are nearly equal, or one filter wins nearly everything."""
        return self.cosine > 0.9 or self.entropy < 0.1


@torch.no_grad()
def report(
    layer: Convolution, start: Tensor, banks: Sequence[Tensor], sums: Sequence[Sums]
) -> LayerReport:
    """Measure a layer; several filter banks are averaged."""
    change = ((layer.weight - start).norm() / start.norm().clamp_min(1e-30)).item()
    cosine = [mean_cosine(bank) for bank in banks]
    dead, entropy = zip(*(_winners(one.wins) for one in sums), strict=True)
    return LayerReport(change, *(sum(values) / len(values) for values in (cosine, dead, entropy)))


def mean_cosine(filters: Tensor) -> float:
    """Compute the mean absolute cosine between filters ``(C, patch...)``; 0 for one filter."""
    unit = torch.nn.functional.normalize(filters.flatten(1).double(), dim=1)
    count = len(unit)
    if count < 2:
        return 0.0
    return float(((unit @ unit.T).abs().sum() - count) / (count * (count - 1)))


def collapse_warning(reports: Mapping[str, LayerReport]) -> str | None:
    """Return a warning if a layer has collapsed, else None."""
    gone = [name for name, one in reports.items() if one.collapsed]
    if not gone:
        return None
    worst = reports[gone[0]]
    return (
        f"{len(gone)} of {len(reports)} layers have collapsed, first {gone[0]} (cosine {worst.cosine:.2f}, winner "
        f"entropy {worst.entropy:.2f}): lower the rate or the inverse temperature, or use HebbianPCA"
    )


def scalars(reports: Mapping[str, LayerReport]) -> dict[str, float]:
    """Return the measures by ``layer/measure``, for TensorBoard."""
    return {
        f"{name}/{key}": value
        for name, one in reports.items()
        for key, value in asdict(one).items()
    }


def draw_filters(weight: Tensor, path: Path) -> None:
    """Draw the filters of a layer, one filter per row.

    Shown are the middle slices of its first input channel along every axis.
    """
    from matplotlib.figure import Figure

    filters = weight.detach().float().cpu()[:32, 0]
    views = (
        [filters]
        if filters.ndim == 3
        else [filters.select(1 + a, filters.shape[1 + a] // 2) for a in range(3)]
    )
    figure = Figure(figsize=(len(filters) * 0.5 + 0.2, len(views) * 0.5 + 0.2))
    for row, view in enumerate(views):
        for column, tile in enumerate(view):
            axes = figure.add_axes(
                (
                    column / len(filters),
                    1 - (row + 1) / len(views),
                    0.9 / len(filters),
                    0.9 / len(views),
                )
            )
            reach = float(tile.abs().max()) or 1.0
            axes.imshow(tile, cmap="RdBu_r", vmin=-reach, vmax=reach)
            axes.set_axis_off()
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=120)


def _winners(wins: Tensor) -> tuple[float, float]:
    """Return the share of dead filters and the normalised entropy of the winners."""
    share = wins / wins.sum().clamp_min(1)
    count = len(wins)
    if count < 2:
        return 0.0, 1.0
    entropy = -(share * share.clamp_min(1e-30).log()).sum() / torch.log(
        share.new_tensor(float(count))
    )
    return float((share < 0.1 / count).double().mean()), float(entropy)
