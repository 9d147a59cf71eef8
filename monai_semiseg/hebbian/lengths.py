"""Lengths of the filters of a layer, one for every output channel."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_semiseg.hebbian.geometry import TRANSPOSED, Convolution


def filter_lengths(layer: Convolution) -> Tensor:
    """Compute the Euclidean length of every output channel's weights, ``(C_out,)``."""
    lengths: Tensor = torch.linalg.vector_norm(_by_output(layer).detach(), dim=(1, 3))
    return lengths.flatten()


@torch.no_grad()
def scale_filters(layer: Convolution, factor: Tensor) -> None:
    """Multiply the weights of every output channel by its factor, ``(C_out,)``."""
    weights = _by_output(layer)
    scaled = weights * factor.reshape(weights.shape[0], 1, -1, 1)
    layer.weight.copy_(scaled.reshape(layer.weight.shape))


def _by_output(layer: Convolution) -> Tensor:
    """Return the weights as ``(groups, inputs, outputs, taps)``; inputs and outputs of a group.

    A convolution's ``(C_out, C_in / groups, kernel...)`` becomes ``(1, 1, C_out, all the rest)``.
    """
    weight = layer.weight
    if not isinstance(layer, TRANSPOSED):
        return weight.reshape(1, 1, weight.shape[0], -1)
    inputs = weight.shape[0] // layer.groups
    return weight.reshape(layer.groups, inputs, weight.shape[1], -1)
