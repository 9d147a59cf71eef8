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
        cosine: mean absolute cosine between two filters; 1 if all are equal (collapse).
        dead: share of filters that win less than a tenth of an equal share; None if the filters do
            not compete.
        entropy: of the winners, 1 if all filters win equally often, 0 if one always wins; None
            likewise.
        rank: effective number of different filters (:func:`effective_rank`), as a share of the
            number that can be.
    """

    change: float
    cosine: float
    dead: float | None
    entropy: float | None
    rank: float

    @property
    def collapsed(self) -> bool:
        """Return whether filters are nearly equal, mixes of a few, or one wins nearly always."""
        one_wins = self.entropy is not None and self.entropy < 0.1
        return self.cosine > 0.9 or self.rank < 0.2 or one_wins


@torch.no_grad()
def report(
    layer: Convolution,
    start: Tensor,
    banks: Sequence[Tensor],
    sums: Sequence[Sums],
    *,
    competitive: bool = True,
) -> LayerReport:
    """Measure a layer; several filter banks are averaged.

    Args:
        layer: after learning.
        start: its weight before.
        banks: its filters.
        sums: of the last step, one for each bank.
        competitive: whether filters compete, as the rule says.
    """
    change = ((layer.weight - start).norm() / start.norm().clamp_min(1e-30)).item()
    cosine = [mean_cosine(bank) for bank in banks]
    rank = [effective_rank(bank) for bank in banks]
    dead, entropy = None, None
    if competitive:
        winners = [_winners(one.wins) for one in sums]
        dead, entropy = map(_average, zip(*winners, strict=True))
    return LayerReport(change, _average(cosine), dead, entropy, _average(rank))


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def mean_cosine(filters: Tensor) -> float:
    """Compute the mean absolute cosine between filters ``(C, patch...)``; 0 for one filter."""
    unit = torch.nn.functional.normalize(filters.flatten(1).double(), dim=1)
    count = len(unit)
    if count < 2:
        return 0.0
    return float(((unit @ unit.T).abs().sum() - count) / (count * (count - 1)))


def effective_rank(filters: Tensor) -> float:
    """Compute the effective rank of filters ``(C, patch...)`` as a share of the greatest possible.

    ``exp(-sum_i p_i log p_i) / min(C, patch)`` with the squared singular values
    ``p_i`` of the matrix of filters, scaled to a sum of 1. Roy, Vetterli, The effective rank
    (EUSIPCO 2007). It is 1 for orthogonal filters of one length, and ``1 / min(C, patch)`` for
    equal ones. Filters drawn at random have about ``exp(-m / 2 n)``, m being the smaller and n the
    larger of C and patch: 0.61 if they are equal. Page, Average entropy of a subsystem (PRL
    1993).
    """
    powers = torch.linalg.svdvals(filters.flatten(1).double()).square()
    shares = powers / powers.sum().clamp_min(1e-300)
    return float(torch.special.entr(shares).sum().exp() / len(shares))


def collapse_warning(reports: Mapping[str, LayerReport]) -> str | None:
    """Return a warning if a layer has collapsed, else None."""
    collapsed = [name for name, one in reports.items() if one.collapsed]
    if not collapsed:
        return None
    first = reports[collapsed[0]]
    return (
        f"{len(collapsed)} of {len(reports)} layers have collapsed, first {collapsed[0]} "
        f"(effective rank {first.rank:.0%} of the possible, cosine {first.cosine:.2f}"
        f"{_of_winners(first)}): lower "
        "the rate or the inverse temperature, use HebbianPCA, or transposed: per_tap"
    )


def _of_winners(one: LayerReport) -> str:
    return "" if one.entropy is None else f", winner entropy {one.entropy:.2f}"


def scalars(reports: Mapping[str, LayerReport]) -> dict[str, float]:
    """Return the measures by ``layer/measure``, for TensorBoard."""
    found = {}
    for name, one in reports.items():
        measures = asdict(one).items()
        found.update({f"{name}/{key}": value for key, value in measures if value is not None})
    return found


def draw_filters(weight: Tensor, path: Path) -> None:
    """Draw the filters of a layer, one filter per row.

    Shown are the middle slices of its first input channel along every axis.
    """
    from matplotlib.figure import Figure

    filters = weight.detach().float().cpu()[:32, 0]
    views = [filters]
    if filters.ndim > 3:
        views = [filters.select(1 + a, filters.shape[1 + a] // 2) for a in range(3)]
    width = 1 / len(filters)
    height = 1 / len(views)
    figure = Figure(figsize=(len(filters) * 0.5 + 0.2, len(views) * 0.5 + 0.2))
    for row, view in enumerate(views):
        for column, tile in enumerate(view):
            box = (column * width, 1 - (row + 1) * height, 0.9 * width, 0.9 * height)
            axes = figure.add_axes(box)
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
    most = torch.log(share.new_tensor(float(count)))
    entropy = torch.special.entr(share).sum() / most
    return float((share < 0.1 / count).double().mean()), float(entropy)
