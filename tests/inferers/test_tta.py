"""Mirrored inference against the plain formula."""

from __future__ import annotations

import itertools

import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from torch import nn

from monai_semiseg.inferers.tta import TTAInferer

AXES = [[0], [2], [0, 1], [2, 0, 1]]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv3d(2, 3, 3, padding=1)


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_mean_over_all_flips(network: nn.Module, axes: list[int]) -> None:
    image = torch.rand(2, 2, 6, 5, 4)
    outputs = []
    for chosen in itertools.product((False, True), repeat=len(axes)):
        dims = [axis + 2 for axis, flip in zip(axes, chosen, strict=True) if flip]
        outputs.append(network(image.flip(dims)).flip(dims))
    result = TTAInferer(SimpleInferer(), axes)(image, network)
    assert torch.allclose(result, torch.stack(outputs).mean(0), atol=1e-6)
    assert not torch.allclose(result, network(image), atol=1e-3)


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_the_output_of_a_flipped_image_is_the_flipped_output(
    network: nn.Module, axes: list[int]
) -> None:
    image = torch.rand(1, 2, 6, 5, 4)
    inferer = TTAInferer(SimpleInferer(), axes)
    for axis in axes:
        flipped = inferer(image.flip(axis + 2), network)
        assert torch.allclose(flipped, inferer(image, network).flip(axis + 2), atol=1e-6)


def test_without_axes_it_is_the_inferer_itself(network: nn.Module) -> None:
    image = torch.rand(1, 2, 9, 5, 4)
    plain = SlidingWindowInferer((4, 4, 4), overlap=0.5, mode="gaussian")
    assert torch.equal(TTAInferer(plain)(image, network), plain(image, network))
