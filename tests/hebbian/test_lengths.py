"""Lengths of filters: one for every output channel, whatever the layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from monai_semiseg.hebbian.geometry import Convolution
from monai_semiseg.hebbian.lengths import filter_lengths, scale_filters


def layers() -> list[Convolution]:
    torch.manual_seed(0)
    return [
        nn.Conv2d(4, 6, 3),
        nn.Conv3d(4, 6, (3, 1, 2), groups=2),
        nn.ConvTranspose2d(4, 6, 2),
        nn.ConvTranspose3d(4, 6, (2, 1, 3), groups=2),
    ]


def weights_of(layer: Convolution, channel: int) -> Tensor:
    """Return an output channel's weights, by the response to an impulse in every input channel."""
    axes = (9,) * (layer.weight.ndim - 2)
    impulses = torch.zeros(layer.in_channels, layer.in_channels, *axes)
    for one in range(layer.in_channels):
        impulses[(one, one, *[4] * len(axes))] = 1
    bare = layer(impulses) - layer.bias.reshape(1, -1, *[1] * len(axes))  # type: ignore[union-attr]
    return bare[:, channel]


@pytest.mark.parametrize("layer", layers(), ids=str)
def test_a_length_is_that_of_all_weights_that_write_a_channel(layer: Convolution) -> None:
    right = torch.stack([weights_of(layer, channel).norm() for channel in range(6)])
    torch.testing.assert_close(filter_lengths(layer), right)


@pytest.mark.parametrize("layer", layers(), ids=str)
def test_every_channel_is_scaled_by_its_own_factor(layer: Convolution) -> None:
    before = [weights_of(layer, channel).detach() for channel in range(6)]
    factor = torch.tensor([1.0, 2.0, 0.5, -1.0, 3.0, 0.0])
    scale_filters(layer, factor)
    for channel in range(6):
        torch.testing.assert_close(weights_of(layer, channel), before[channel] * factor[channel])
