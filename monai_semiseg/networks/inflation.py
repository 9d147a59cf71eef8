"""Inflation of 2-D weights to 3-D networks of the same design, and deflation back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from monai_semiseg.errors import CheckpointError


def fitted(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Bring weights into the number of axes that a network has.

    *Inflation*, 2-D to 3-D: every kernel is repeated along a new first spatial axis, and divided by
    how many of its slices meet in one output voxel (the kernel's depth; for a transposed
    convolution depth / stride). On a volume whose slices are all alike, the 3-D network gives the
    2-D network's output in every slice away from the ends. Carreira and Zisserman, Quo vadis,
    action recognition? (CVPR 2017).

    *Deflation*, 3-D to 2-D, is its inverse: the sum over the kernel's depth, scaled likewise.

    Args:
        state: a state dict; tensors that have the network's shape already are kept as they are.
        network: the network to fit.

    Returns:
        A state dict for ``network``; tensors that cannot be brought to its shape are left out.

    Raises:
        CheckpointError: If nothing fits.
    """
    own = network.state_dict()
    layers = {
        f"{name}.weight": module
        for name, module in network.named_modules()
        if isinstance(module, _ConvNd)
    }
    found: dict[str, Tensor] = {}
    for name in [name for name in state if name in own]:
        new = _with_axes(state[name], own[name].ndim, layers.get(name))
        if new.shape == own[name].shape:
            found[name] = new.to(own[name].dtype)
    if not found:
        raise CheckpointError(
            "no tensor fits the network", expected="weights of the same design in 2-D or 3-D"
        )
    return found


def _with_axes(value: Tensor, axes: int, layer: _ConvNd | None) -> Tensor:
    """Inflate or deflate a convolution's weight; return any other tensor as it is."""
    if layer is None or abs(value.ndim - axes) != 1:
        return value
    return _inflated(value, layer) if value.ndim < axes else _deflated(value, layer)


def _inflated(kernel: Tensor, layer: _ConvNd) -> Tensor:
    depth = layer.kernel_size[0]
    return kernel.unsqueeze(2).repeat_interleave(depth, 2) / _slices(depth, layer)


def _deflated(kernel: Tensor, layer: _ConvNd) -> Tensor:
    depth = kernel.shape[2]
    return torch.as_tensor(kernel.mean(2) * _slices(depth, layer))


def _slices(depth: int, layer: _ConvNd) -> float:
    """Return the number of kernel slices that meet in one output voxel."""
    if isinstance(layer, _ConvTransposeNd):
        return max(1.0, depth / layer.stride[0])
    return float(depth)
