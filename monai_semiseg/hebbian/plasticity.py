"""Update of a bank of filters: centred, standardised sums over all sites, and the rule's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from monai_semiseg.hebbian.geometry import Geometry
from monai_semiseg.hebbian.rules import Rule

Reduce = Callable[[Sequence[Tensor]], None]


def alone(_: Sequence[Tensor]) -> None:
    """Leave the tensors unchanged: the reduction of a single process."""


@dataclass
class Sums:
    """Sums of a bank since its last update; float64, additive over batches and processes.

    Attributes:
        count: sites.
        correlation: ``sum_n r_n x_n``, ``(C, patch...)``.
        coupling: of :meth:`~monai_semiseg.hebbian.rules.Rule.coupling`.
        signal: ``sum_n r_n``, ``(C,)``.
        wins: number of sites at which a filter responds most strongly, counted at every second site
            along each axis, ``(C,)``.
        variance: of the responses before standardisation, mean over the filters; 0 for constant
            images.
    """

    count: Tensor
    correlation: Tensor
    coupling: Tensor
    signal: Tensor
    wins: Tensor
    variance: Tensor

    def __add__(self, other: Sums) -> Sums:
        """Add both sums; the variance is the mean."""
        return Sums(
            self.count + other.count,
            self.correlation + other.correlation,
            self.coupling + other.coupling,
            self.signal + other.signal,
            self.wins + other.wins,
            (self.variance + other.variance) / 2,
        )

    @property
    def finite(self) -> Tensor:
        """Return whether every number is finite."""
        sums = [self.correlation.sum(), self.coupling.sum(), self.variance]
        return torch.stack(sums).isfinite().all()


@torch.no_grad()
def observe(
    rule: Rule,
    geometry: Geometry,
    large: Tensor,
    small: Tensor,
    *,
    centre: bool = True,
    standardise: bool = True,
    reduce: Reduce = alone,
) -> Sums:
    """Compute the sums of one batch, with ``x' = (x - mean x) / s``, ``v' = (v - mean v) / s``.

    The mean patch and the mean response over all sites are subtracted (``centre``), because all
    filters would otherwise become the mean patch; ``s`` is the standard deviation of the responses
    over the layer (``standardise``), so that temperatures and rates have the same meaning in every
    layer. Both are applied to the sums, not to the patches.

    Args:
        rule: the learning rule.
        geometry: of the sites.
        large: map of the patches, ``(B, C_in, spatial...)``.
        small: responses, ``(B, C, sites...)``.
        centre: see above.
        standardise: see above.
        reduce: adds up tensors in place over all processes.
    """
    kind = torch.float64 if large.dtype == torch.float64 else torch.float32
    with torch.autocast(large.device.type, enabled=False):
        mean, patch, count = _means(geometry, large, small, kind, centre, reduce)
        responses = (v for _, _, v in geometry.slabs(large, small))
        variance = _variance(responses, mean, count, kind, reduce)
        inverse = torch.ones_like(variance)
        if standardise:
            inverse = torch.where(variance > 0, variance.rsqrt(), 0.0)
        parts = [
            _part(rule, part, some.to(kind), _shifted(v, mean, kind).mul_(inverse.to(kind)))
            for part, some, v in geometry.slabs(large, small)
        ]
        totals = [torch.stack(same).sum(0) for same in zip(*parts, strict=True)]
        reduce(totals)
        signal, coupling, wins, correlation = totals
        if centre:
            means = (patch / count).reshape(geometry.groups, 1, -1, *geometry.kernel)
            shares = signal.reshape(geometry.groups, -1, *[1] * (small.ndim - 1))
            correlation -= (shares * means).flatten(0, 1)
        return Sums(count, correlation * inverse, coupling, signal, wins, variance)


def _part(rule: Rule, geometry: Geometry, large: Tensor, response: Tensor) -> tuple[Tensor, ...]:
    """Compute the contribution of some scans to the sums."""
    signal = rule.signal(response, geometry.groups)
    total = signal.sum(_sites(signal)).double()
    coupling = rule.coupling(response, signal, geometry.groups)
    wins = _wins(response)
    del response
    return total, coupling, wins, geometry.correlate(large, signal).double()


def _means(
    geometry: Geometry,
    large: Tensor,
    small: Tensor,
    kind: torch.dtype,
    centre: bool,
    reduce: Reduce,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean response, sum of all patches and number of sites, over all processes.

    Mean and sum are zero if nothing is centred.
    """
    count = torch.tensor(float(small[:, 0].numel()), dtype=torch.float64, device=small.device)
    sums = [v.to(kind).sum(_sites(v)).double() for _, _, v in geometry.slabs(large, small)]
    first = torch.stack(sums).sum(0)
    if not centre:
        reduce([count])
        return torch.zeros_like(first), torch.zeros_like(count), count
    parts = [
        part.patch_sum(some.to(kind), tuple(v.shape[2:]))
        for part, some, v in geometry.slabs(large, small)
    ]
    patch = torch.stack(parts).sum(0)
    reduce([count, first, patch])
    return first / count, patch, count


def _variance(
    parts: Iterable[Tensor], mean: Tensor, count: Tensor, kind: torch.dtype, reduce: Reduce
) -> Tensor:
    """Return the mean variance of the filters; 0 if only rounding errors are left."""
    norms = [torch.linalg.vector_norm(_shifted(v, mean, kind), dim=_sites(v)) for v in parts]
    second = torch.stack(norms).double().square().sum(0)
    reduce([second])
    variance = (second / count).mean()
    return variance * (variance > (1e-6 * mean.abs().max()) ** 2)


def _shifted(values: Tensor, mean: Tensor, kind: torch.dtype) -> Tensor:
    """Return a copy minus its mean."""
    return values.to(kind) - mean.to(kind).reshape(1, -1, *[1] * (values.ndim - 2))


def _sites(values: Tensor) -> list[int]:
    return [0, *range(2, values.ndim)]


def terms(rule: Rule, sums: Sums, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return Hebbian term, decay and gain of :mod:`monai_semiseg.hebbian.rules`, in float64."""
    filters = weight.double()
    hebbian = sums.correlation / sums.count
    decay = rule.decay(sums.coupling, sums.count, filters)
    gain = rule.gain(sums.coupling, sums.count, filters)
    return hebbian, decay, gain


def _wins(response: Tensor) -> Tensor:
    """Count how often each filter is the strongest, at every second site along each axis."""
    some = response[(slice(None), slice(None), *[slice(None, None, 2)] * (response.ndim - 2))]
    strongest = some == some.amax(1, keepdim=True)
    return strongest.sum(_sites(response)).double()
