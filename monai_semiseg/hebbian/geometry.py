"""Sites of a convolution, and sums over all of them without a patch matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from monai_semiseg.errors import ConfigError

Convolution = (
    nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Slices = tuple[slice, ...]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


@dataclass(frozen=True)
class Geometry:
    """Kernel, stride, padding (voxels) and dilation along every axis, and number of channel groups.

    A site ``n`` of the small grid sees, at tap ``k``, the voxel ``n stride + k dilation - padding``
    of the large one; outside of it there are zeros. A convolution reads there, a transposed
    convolution writes there.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @classmethod
    def of(cls, layer: Convolution) -> Geometry:
        """Return the geometry of a layer whose zero padding is the same on both sides.

        Raises:
            ConfigError: If it pads otherwise.
        """
        padding = layer.padding
        if padding == "valid":
            padding = (0,) * len(layer.kernel_size)
        elif padding == "same":
            reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
            padding = tuple(r // 2 for r in reach) if all(r % 2 == 0 for r in reach) else padding
        if isinstance(padding, str) or layer.padding_mode != "zeros":
            raise ConfigError(
                f"a convolution with padding {layer.padding!r}, mode {layer.padding_mode!r}",
                expected="zeros, equally many on both sides",
                remedy="exclude this layer by its name",
            )
        return cls(layer.kernel_size, layer.stride, padding, layer.dilation, layer.groups)

    @property
    def taps(self) -> int:
        """Return the number of kernel taps."""
        return int(torch.tensor(self.kernel).prod())

    def correlate(self, large: Tensor, small: Tensor) -> Tensor:
        """Compute ``sum_n small_n x patch_n(large)``, the weight gradient of a convolution.

        Args:
            large: ``(B, C, spatial...)``.
            small: ``(B, D, sites...)``.

        Returns:
            ``(D, C / groups, kernel...)``; filters of one group pair with that group's channels.
        """
        shape = (small.shape[1], large.shape[1] // self.groups, *self.kernel)
        dims = len(self.kernel)
        gradients = torch.ops.aten.convolution_backward(
            small,
            large,
            large.new_empty(1).expand(shape),
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            [0] * dims,
            self.groups,
            [False, True, False],
        )
        result: Tensor = gradients[1]
        return result

    def patch_sum(self, large: Tensor, sites: tuple[int, ...]) -> Tensor:
        """Compute ``sum_n patch_n(large)``, ``(C, kernel...)``, in float64, axis by axis.

        Args:
            large: ``(B, C, spatial...)``.
            sites: size of the small grid.
        """
        result = large
        for axis in range(len(self.kernel)):
            # The axis that is summed is always the third; its taps become the last axis, so that
            # the order of axes is kept.
            size = result.shape[2]
            taps = range(self.kernel[axis])
            spans = [self._span(axis, tap, sites[axis], size)[0] for tap in taps]
            parts = [result[:, :, span].sum(2) for span in spans]
            result = torch.stack(parts, -1)
        return result.sum(0).double()

    def tap_boxes(
        self, size: tuple[int, ...], sites: tuple[int, ...]
    ) -> list[tuple[Slices, Slices]]:
        """Return the voxels that each tap sees and the sites that see them, in the kernel's order.

        Args:
            size: of the large grid.
            sites: size of the small grid.
        """
        boxes = []
        for tap in product(*map(range, self.kernel)):
            spans = [self._span(axis, tap[axis], sites[axis], n) for axis, n in enumerate(size)]
            voxels = tuple(span for span, _ in spans)
            seen_from = tuple(span for _, span in spans)
            boxes.append((voxels, seen_from))
        return boxes

    def slabs(
        self, large: Tensor, small: Tensor, values: int = 1 << 22
    ) -> Iterator[tuple[Geometry, Tensor, Tensor]]:
        """Yield slabs of sites along the first axis, scan after scan, with the voxels they see.

        The sums of all slabs add up to the sum over all sites. A slab has at most about ``values``
        numbers, unless one layer of sites has more.

        Args:
            large: ``(B, C, spatial...)``.
            small: ``(B, D, sites...)``.
            values: see above.
        """
        sites = small.shape[2]
        thick = max(1, min(sites, sites * values // max(1, large[0].numel(), small[0].numel())))
        scans = max(1, values // max(1, large[0].numel(), small[0].numel()))
        inner = self if thick == sites else replace(self, padding=(0, *self.padding[1:]))
        for first in range(0, len(large), scans):
            some = large[first : first + scans]
            responses = small[first : first + scans]
            for begin in range(0, sites, thick):
                part = responses[:, :, begin : begin + thick]
                seen = some if inner is self else self._seen(some, begin, part.shape[2])
                yield inner, seen, part

    def _seen(self, large: Tensor, begin: int, sites: int) -> Tensor:
        """Return the voxels that a slab of sites sees along the first axis, with zeros outside."""
        low = begin * self.stride[0] - self.padding[0]
        high = low + (sites - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1
        size = large.shape[2]
        seen = large[:, :, max(low, 0) : max(0, min(high, size))]
        before, after = max(0, min(high, 0) - low), max(0, high - max(low, size))
        if not (before or after):
            return seen
        return functional.pad(seen, [0, 0] * (len(self.kernel) - 1) + [before, after])

    def _span(self, axis: int, tap: int, sites: int, size: int) -> tuple[slice, slice]:
        """Return the voxels that a tap sees along one axis, and the sites that see them."""
        offset = tap * self.dilation[axis] - self.padding[axis]
        stride = self.stride[axis]
        begin = max(0, -(offset // stride))
        end = max(begin, min(sites, (size - 1 - offset) // stride + 1))
        first = begin * stride + offset
        last = first + (end - begin - 1) * stride + 1 if end > begin else first
        return slice(first, last, stride), slice(begin, end)
