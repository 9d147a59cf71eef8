"""Weights for a network of the same design with other axes (2-D, 3-D) or input channels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from monai_semiseg.errors import CheckpointError

logger = logging.getLogger(__name__)


def fitted(
    state: Mapping[str, Tensor], network: nn.Module, source: str | Path = "weights"
) -> dict[str, Tensor]:
    """Return the weights that :func:`adapted` brings to the shapes of a network.

    Args:
        state: a state dict.
        network: the network to fit.
        source: where the weights are from, for the log.

    Returns:
        A state dict for ``network``; tensors that cannot be brought to its shape are left out.

    Raises:
        CheckpointError: If nothing fits.
    """
    own = network.state_dict()
    found = {
        name: value.to(own[name].dtype)
        for name, value in adapted(state, network, source).items()
        if name in own and value.shape == own[name].shape
    }
    if not found:
        raise CheckpointError(
            "no tensor fits the network", expected="weights of the same design in 2-D or 3-D"
        )
    return found


def adapted(
    state: Mapping[str, Tensor], network: nn.Module, source: str | Path = "weights"
) -> dict[str, Tensor]:
    """Bring weights to the number of axes and of input channels that a network has.

    *Inflation*, 2-D to 3-D: every kernel is repeated along a new first spatial axis, and divided by
    how many of its slices meet in one output voxel (the kernel's depth; for a transposed
    convolution depth / stride). On a volume whose slices are all alike, the 3-D network gives the
    2-D network's output in every slice away from the ends. Carreira and Zisserman, Quo vadis,
    action recognition? (CVPR 2017).

    *Deflation*, 3-D to 2-D, is its inverse: the sum over the kernel's depth, scaled likewise.

    *Channels*, 1 to C: kernels that see the image are repeated for every channel, and divided by C.
    C to 1: they are summed. On C equal channels, the network of C channels gives the output of the
    network of one channel.

    Args:
        state: a state dict; tensors that have the network's shape already are kept as they are.
        network: the network to fit.
        source: where the weights are from, for the log: a line for each tensor that was changed.

    Returns:
        All tensors of ``state``; those that cannot be brought to the network's shape are unchanged.
    """
    layers = {
        f"{name}.weight": module
        for name, module in network.named_modules(remove_duplicate=False)
        if isinstance(module, _ConvNd) and f"{name}.weight" in state
    }
    found = {**state, **{name: _with_axes(state[name], layer) for name, layer in layers.items()}}
    others = [name for name, layer in layers.items() if _other_inputs(found[name], layer)]
    if len({(found[name].shape[1], layers[name].weight.shape[1]) for name in others}) == 1:
        found |= {name: _with_inputs(found[name], layers[name].weight.shape[1]) for name in others}
    said: set[int] = set()
    for name, layer in layers.items():
        if found[name].shape != layer.weight.shape:
            found[name] = state[name]
        elif state[name].shape != layer.weight.shape and id(layer) not in said:
            said.add(id(layer))  # some networks have one layer under two names
            how = _change(state[name], layer)
            logger.warning("%s: %s is fitted to the network: %s", source, name, how)
    return found


def shape_text(value: Tensor) -> str:
    """Return a shape as text: ``16 x 1 x 3 x 3``."""
    return " x ".join(map(str, value.shape)) or "one number"


def _change(before: Tensor, layer: _ConvNd) -> str:
    """Say how a kernel was fitted to a layer."""
    own = layer.weight
    words = []
    if before.ndim != own.ndim:
        words.append(f"{before.ndim - 2}-D kernels for {own.ndim - 2}-D")
    if before.shape[1] != own.shape[1]:
        words.append(
            f"kernels of 1 channel repeated for {own.shape[1]} and divided by {own.shape[1]}"
            if before.shape[1] == 1
            else f"kernels of {before.shape[1]} channels summed for 1"
        )
    return f"{'; '.join(words)} ({shape_text(before)} to {shape_text(own)})"


def _with_axes(value: Tensor, layer: _ConvNd) -> Tensor:
    """Inflate or deflate a convolution's weight to its layer's axes; others stay."""
    axes = layer.weight.ndim
    if abs(value.ndim - axes) != 1:
        return value
    return _inflated(value, layer) if value.ndim < axes else _deflated(value, layer)


def _other_inputs(kernel: Tensor, layer: _ConvNd) -> bool:
    """Return True if only the input channels differ, and one of the two numbers is 1."""
    own = layer.weight
    if isinstance(layer, _ConvTransposeNd) or layer.groups != 1 or kernel.ndim != own.ndim:
        return False
    others_agree = kernel.shape[:1] + kernel.shape[2:] == own.shape[:1] + own.shape[2:]
    counts = (kernel.shape[1], own.shape[1])
    return others_agree and counts[0] != counts[1] and 1 in counts


def _with_inputs(kernel: Tensor, channels: int) -> Tensor:
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    return kernel.repeat_interleave(channels, 1) / channels


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
