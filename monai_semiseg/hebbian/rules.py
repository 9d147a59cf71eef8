"""Local learning rules for filters, without labels, gradients or a graph.

All rules share one form. Site ``n`` shows the patch ``x_n`` (flattened: input channels of the group
x taps) to the filters ``w_o``, which respond with ``v_{o,n}``. A rule turns the responses into a
plasticity signal ``r_{o,n}``, and::

    dw_o = g_o ( 1/N sum_n r_{o,n} x_n  -  decay_o )

The first term is the weight gradient of a convolution whose upstream gradient is ``r``; the decay
needs one sum per channel, or one matrix of channels x channels. Nothing of the size sites x patch
is built. Everything is a mean over the N sites, so an update's size depends neither on the batch
nor on the resolution.

Shapes: responses ``(B, C, sites...)``, weights ``(C, P...)`` with any patch shape ``P``; with
``groups``, the filters of one group compete, or are orthogonalised, among themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from monai_semiseg.errors import ConfigError


class Rule(Protocol):
    """Interface of a local learning rule."""

    @property
    def spherical(self) -> bool:
        """Return whether filters are kept at length 1."""
        ...

    @property
    def radius(self) -> float:
        """Return the initial length of filters."""
        ...

    @property
    def competitive(self) -> bool:
        """Return whether the filters compete for each patch."""
        ...

    def signal(self, response: Tensor, groups: int) -> Tensor:
        """Return the plasticity signal r of the responses, both ``(B, C, sites...)``."""
        ...

    def coupling(self, response: Tensor, signal: Tensor, groups: int) -> Tensor:
        """Return the sums over sites for the decay; they add up over batches and processes."""
        ...

    def decay(self, coupling: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        """Return ``decay_o`` above, of the shape of the weight."""
        ...

    def gain(self, coupling: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        """Return ``g_o`` above, ``(C,)``."""
        ...


@dataclass(frozen=True)
class SoftWinnerTakeAll:
    """Soft winner-take-all (SWTA): filters become centroids of the patches that they win.

    ``r_{o,n} = exp(k v_{o,n}) / sum_o' exp(k v_{o',n})``, ``decay_o = (1/N sum_n r_{o,n}) w_o``.
    With ``balanced``, ``g_o = N / sum_n r_{o,n}``, so ``dw_o = centroid_o - w_o``: filters that win
    rarely move as fast as those that win often, so none stays unused. Ciampi et al., arXiv
    2412.03192; Nowlan, Maximum likelihood competitive learning (NeurIPS 1989).

    Args:
        inverse_temperature: k above, for responses in units of their standard deviation over the
            layer.
        balanced: see above; without it g = 1.
    """

    inverse_temperature: float = 5.0
    balanced: bool = True
    spherical: bool = True
    radius: float = 1.0
    competitive: bool = True

    def __post_init__(self) -> None:
        _positive(self, "inverse_temperature")

    def signal(self, response: Tensor, groups: int) -> Tensor:
        """Return the shares of the filters."""
        return _shares(response, self.inverse_temperature, groups)

    def coupling(self, response: Tensor, signal: Tensor, groups: int) -> Tensor:
        """Return ``sum_n r``, ``(C,)``."""
        return _per_channel(signal)

    def decay(self, coupling: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        """Return the weight times the mean share of the filter."""
        return _scaled(weight, coupling / count)

    def gain(self, coupling: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        """Return N over the sum of the filter's shares; 0 for a filter without any."""
        if not self.balanced:
            return torch.ones_like(coupling)
        return torch.where(coupling > 1e-9 * count, count / coupling.clamp_min(1e-300), 0.0)


@dataclass(frozen=True)
class HebbianPCA:
    """Hebbian PCA (HPCA): filters become the leading principal components of the patches.

    ``r = v``, ``decay_i = sum_{j <= i} (1/N sum_n v_{i,n} v_{j,n}) w_j``: each filter learns the
    residual of those before it. Sanger, Optimal unsupervised learning in a single-layer linear
    feedforward neural network (Neural Networks 1989); Ciampi et al., arXiv 2412.03192. Patches have
    to be centred; filters beyond the number of the patch's dimensions learn nothing.
    """

    spherical: bool = True
    radius: float = 1.0
    competitive: bool = False

    def signal(self, response: Tensor, groups: int) -> Tensor:
        """Return the responses."""
        return response

    def coupling(self, response: Tensor, signal: Tensor, groups: int) -> Tensor:
        """Return ``sum_n v v^T`` within every group, ``(groups, C / groups, C / groups)``."""
        flat = _grouped(response.flatten(2), groups)
        return sum((one @ one.mT for one in flat), flat.new_zeros(())).double()

    def decay(self, coupling: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        """Return the part of the patches that this filter and those before it explain."""
        inner = weight.reshape(*coupling.shape[:2], -1)
        return ((coupling / count).tril() @ inner).reshape(weight.shape)

    def gain(self, coupling: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        """Return ones."""
        return coupling.new_ones(len(weight))


@dataclass(frozen=True)
class SoftHebb:
    """SoftHebb: the winner learns towards the patch, others away; long filters learn fast.

    With the shares ``p`` of :class:`SoftWinnerTakeAll`: ``r = p`` for the strongest filter of a
    site, ``r = -p`` for all others; ``decay_o = (1/N sum_n r_{o,n} v_{o,n}) w_o``; ``g_o = |
    ||w_o|| - 1 |^q``, which ends the learning of a filter as its length comes to 1. Journe,
    Rodriguez, Guo, Moraitis, Hebbian deep learning without feedback (ICLR 2023).

    Args:
        inverse_temperature: as in :class:`SoftWinnerTakeAll`.
        radius: length that filters start with.
        exponent: q above.
    """

    inverse_temperature: float = 1.0
    radius: float = 5.0
    exponent: float = 0.5
    spherical: bool = False
    competitive: bool = True

    def __post_init__(self) -> None:
        _positive(self, "inverse_temperature", "radius")

    def signal(self, response: Tensor, groups: int) -> Tensor:
        """Return the shares, negative for all but the winner."""
        shares = _shares(response, self.inverse_temperature, groups)
        grouped = _grouped(shares, groups)
        winner = grouped == grouped.amax(2, keepdim=True)
        grouped.mul_(winner.to(torch.int8).mul_(2).sub_(1))
        return shares

    def coupling(self, response: Tensor, signal: Tensor, groups: int) -> Tensor:
        """Return ``sum_n r v``, ``(C,)``."""
        # One scan at a time, to save memory.
        pairs = zip(signal.flatten(2), response.flatten(2), strict=True)
        return torch.stack([(r * v).sum(1) for r, v in pairs]).sum(0).double()

    def decay(self, coupling: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        """Return Oja's decay, with the plasticity signal for the response."""
        return _scaled(weight, coupling / count)

    def gain(self, coupling: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        """Return the learning rate's factor from the filter's length."""
        length: Tensor = torch.linalg.vector_norm(weight.flatten(1), dim=1)
        return (length - 1).abs().pow(self.exponent)


def _positive(rule: object, *names: str) -> None:
    for name in names:
        if not getattr(rule, name) > 0:
            raise ConfigError(f"{name} {getattr(rule, name)}", expected="more than 0")


def _shares(response: Tensor, inverse_temperature: float, groups: int) -> Tensor:
    """Compute the softmax over the filters of a group; competition needs at least two."""
    if response.shape[1] == groups:
        raise ConfigError(
            f"{groups} groups of one filter each",
            expected="a rule without competition, or more filters",
            remedy="use HebbianPCA, or exclude this layer by its name",
        )
    shares = response * inverse_temperature
    grouped = _grouped(shares, groups)
    # Softmax in place: this is the largest array of an update.
    grouped.sub_(grouped.amax(2, keepdim=True)).exp_().div_(grouped.sum(2, keepdim=True))
    return shares


def _grouped(values: Tensor, groups: int) -> Tensor:
    """Reshape ``(B, C, sites...)`` to ``(B, groups, C / groups, sites...)``."""
    return values.reshape(len(values), groups, -1, *values.shape[2:])


def _per_channel(values: Tensor) -> Tensor:
    return values.sum([0, *range(2, values.ndim)]).double()


def _scaled(weight: Tensor, factor: Tensor) -> Tensor:
    return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
