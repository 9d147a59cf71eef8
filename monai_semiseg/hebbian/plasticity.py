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
        wins: sites at which a filter responds most strongly, of every second one along each axis,
            ``(C,)``.
        variance: of the responses before they were standardised, mean over the filters; 0 for
            constant images.
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
        return (
            torch.stack([self.correlation.sum(), self.coupling.sum(), self.variance])
            .isfinite()
            .all()
        )


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

    The mean patch and the mean response over all sites are taken out (``centre``), because filters
    otherwise all turn to the mean patch; ``s`` is the standard deviation of the responses over the
    layer (``standardise``), which makes temperatures and rates mean the same in every layer. Both
    are done on the sums, not on the patches.

    Args:
        rule: the learning rule.
        geometry: of the sites.
        large: what the patches are of, ``(B, C_in, spatial...)``.
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
        inverse = (
            torch.where(variance > 0, variance.rsqrt(), 0.0)
            if standardise
            else torch.ones_like(variance)
        )
        parts = [
            _part(rule, part, some.to(kind), _shifted(v, mean, kind).mul_(inverse.to(kind)))
            for part, some, v in geometry.slabs(large, small)
        ]
        total, coupling, wins, correlation = (
            torch.stack(same).sum(0) for same in zip(*parts, strict=True)
        )
        reduce([total, coupling, wins, correlation])
        if centre:
            means = (patch / count).reshape(geometry.groups, 1, -1, *geometry.kernel)
            shares = total.reshape(geometry.groups, -1, *[1] * (small.ndim - 1))
            correlation -= (shares * means).flatten(0, 1)
        return Sums(count, correlation * inverse, coupling, total, wins, variance)


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
    first = torch.stack(
        [v.to(kind).sum(_sites(v)).double() for _, _, v in geometry.slabs(large, small)]
    ).sum(0)
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
    return (
        hebbian,
        rule.decay(sums.coupling, sums.count, filters),
        rule.gain(sums.coupling, sums.count, filters),
    )


def _wins(response: Tensor) -> Tensor:
    """Count how often each filter is the strongest, at every second site along each axis."""
    some = response[(slice(None), slice(None), *[slice(None, None, 2)] * (response.ndim - 2))]
    strongest = some == some.amax(1, keepdim=True)
    return strongest.sum(_sites(response)).double()
