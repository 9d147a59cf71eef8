"""Layers as banks of filters: convolutions as one, transposed ones swapped or tap by tap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.geometry import TRANSPOSED, Convolution, Geometry
from monai_semiseg.hebbian.plasticity import Sums, terms
from monai_semiseg.hebbian.rules import Rule


class Form(Protocol):
    """Layer weight as banks of filters ``(C, patch...)``."""

    def views(self, given: Tensor, output: Tensor) -> list[tuple[Geometry, Tensor, Tensor]]:
        """Return for every bank: geometry, the map its patches come from, and its responses.

        The maps are the input and output of the layer.
        """
        ...

    def banks(self, weight: Tensor) -> list[Tensor]:
        """Return the filters of every bank."""
        ...

    def weight(self, banks: Sequence[Tensor]) -> Tensor:
        """Return the layer's weight from its banks, the inverse of :meth:`banks`."""
        ...

    def start(self, weight: Tensor) -> Tensor:
        """Return the weight that learning starts from, made of the drawn one."""
        ...

    def update(self, rule: Rule, sums: Sequence[Sums], weight: Tensor) -> Tensor:
        """Compute ``dW`` of the layer, in float64."""
        ...


class ConvolutionForm:
    """Convolution, whose output responds to patches of its input."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry

    def views(self, given: Tensor, output: Tensor) -> list[tuple[Geometry, Tensor, Tensor]]:
        """Return the input for the patches, the output for the responses."""
        return [(self.geometry, given, output)]

    def banks(self, weight: Tensor) -> list[Tensor]:
        """Return the weight unchanged."""
        return [weight]

    def weight(self, banks: Sequence[Tensor]) -> Tensor:
        """Return the weight unchanged."""
        return banks[0]

    def start(self, weight: Tensor) -> Tensor:
        """Return the weight unchanged."""
        return weight

    def update(self, rule: Rule, sums: Sequence[Sums], weight: Tensor) -> Tensor:
        """Compute ``g (hebbian - decay)``."""
        return _step(*terms(rule, sums[0], weight))


class SwapForm(ConvolutionForm):
    """Transposed convolution as the convolution from its output back to its input (S).

    Filters are ``w_i = W_{i,.,.}`` over output channels and taps; the input ``x_i`` responds to the
    patch of the output that its site writes into, read back from the complete output. Ciampi et
    al., arXiv 2412.03192 ("-S").

    The patch is what the filters themselves have written. Where patches do not overlap it is
    ``sum_j x_j w_j``, and the update of HebbianPCA is ``sum_{j > i} <x_i x_j> w_j``: filters of
    inputs that vary together become equal, whatever the images are, and the layer collapses.
    """

    def views(self, given: Tensor, output: Tensor) -> list[tuple[Geometry, Tensor, Tensor]]:
        """Return the output for the patches, the input for the responses."""
        return [(self.geometry, output, given)]


class PerTapForm:
    """Transposed convolution with every tap as a 1 x 1 layer from input to output voxels (T).

    Filters are ``W_{.,o,t}`` over input channels. All taps of an output channel start from the same
    filter: they learn the same direction, and from different starts some would come to its
    opposite, a checkerboard in the output. The layer then begins as a 1 x 1 layer and
    nearest-neighbour upsampling; training tells the taps apart. With ``summed``, taps start as they
    are drawn, and the decays of all taps are subtracted from every tap, as the published code does;
    that decay is about ``taps`` times too large, and has no fixed point. Ciampi et al., arXiv
    2412.03192 ("-T").

    Args:
        geometry: of the transposed layer.
        summed: see above.
    """

    def __init__(self, geometry: Geometry, summed: bool = False) -> None:
        self.geometry = geometry
        self.summed = summed
        ones = (1,) * len(geometry.kernel)
        self.point = Geometry(ones, ones, (0,) * len(ones), ones, geometry.groups)

    def views(self, given: Tensor, output: Tensor) -> list[tuple[Geometry, Tensor, Tensor]]:
        """Return the input's voxels and the output of every tap."""
        boxes = self.geometry.tap_boxes(tuple(output.shape[2:]), tuple(given.shape[2:]))
        return [(self.point, given[:, :, *sites], output[:, :, *voxels]) for voxels, sites in boxes]

    def banks(self, weight: Tensor) -> list[Tensor]:
        """Return ``taps`` banks ``(C_out, C_in / groups, 1...)``."""
        groups = self.geometry.groups
        grouped = weight.reshape(groups, -1, weight.shape[1], self.geometry.taps)
        taps = grouped.permute(3, 0, 2, 1).flatten(1, 2)
        return [tap.reshape(*tap.shape, *self.point.kernel) for tap in taps]

    def weight(self, banks: Sequence[Tensor]) -> Tensor:
        """Return the weight ``(C_in, C_out / groups, kernel...)``."""
        taps = torch.stack([bank.flatten(1) for bank in banks])
        grouped = taps.reshape(len(banks), self.geometry.groups, -1, taps.shape[2])
        grouped = grouped.permute(1, 3, 2, 0)
        return grouped.reshape(-1, grouped.shape[2], *self.geometry.kernel)

    def start(self, weight: Tensor) -> Tensor:
        """Return the weight with the first tap's filters in every tap."""
        if self.summed:
            return weight
        first = self.banks(weight)[0]
        return self.weight([first] * self.geometry.taps)

    def update(self, rule: Rule, sums: Sequence[Sums], weight: Tensor) -> Tensor:
        """Compute ``g (hebbian - decay)`` of every tap, or with the sum of all taps' decays."""
        parts = [terms(rule, one, bank) for one, bank in zip(sums, self.banks(weight), strict=True)]
        decays = [decay for _, decay, _ in parts]
        if self.summed:
            decays = [torch.stack(decays).sum(0)] * len(parts)
        steps = [_step(h, decay, g) for (h, _, g), decay in zip(parts, decays, strict=True)]
        return self.weight(steps)


def form_of(layer: Convolution, transposed: str) -> Form:
    """Return the form of a layer.

    Args:
        layer: a convolution.
        transposed: form of transposed convolutions: ``swap``, ``per_tap`` or
            ``per_tap_summed``.

    Raises:
        ConfigError: If there is no such form, or none for the layer's padding.
    """
    if transposed not in ("swap", "per_tap", "per_tap_summed"):
        raise ConfigError(f"transposed {transposed!r}", expected="swap, per_tap or per_tap_summed")
    geometry = Geometry.of(layer)
    if not isinstance(layer, TRANSPOSED):
        return ConvolutionForm(geometry)
    if transposed == "swap":
        return SwapForm(geometry)
    return PerTapForm(geometry, summed=transposed == "per_tap_summed")


def _step(hebbian: Tensor, decay: Tensor, gain: Tensor) -> Tensor:
    return gain.reshape(-1, *[1] * (hebbian.ndim - 1)) * (hebbian - decay)
