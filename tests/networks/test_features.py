"""Features of networks, found by a forward pass of shapes."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.embedding import Embedder
from monai_semiseg.networks.features import Feature, before_head, deepest, feature_at, output_shape
from monai_semiseg.networks.taps import until
from tests.network_zoo import CLASSES, NETWORKS, build, patch_of

DEEPEST = {
    "AttentionUnet": ("model.1.submodule.1.submodule", 8),
    "BasicUNet": ("down_4", 4),
    "BasicUNetPlusPlus": ("conv_4_0", 4),
    "DynUNet": ("bottleneck", 8),
    "SwinUNETR": ("encoder10", 192),
    "UNETR": ("vit.norm", 16),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_features_of_every_network(name: str) -> None:
    """Compare with the shapes of a real forward pass, in which the layers are those found."""
    network, size = build(name, 2).eval(), [1, *patch_of(name, 2)]
    images = torch.randn(2, *size)
    random = torch.get_rng_state()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    places = deepest(network, size), before_head(network, size)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    if name in DEEPEST:
        assert places[0] == Feature(DEEPEST[name][0], False, DEEPEST[name][1])
    with torch.no_grad():
        deep, fine = (until(network, place.layer, images, before=place.before) for place in places)
    assert deep.shape[1 if deep.ndim == 4 else 2] == places[0].channels
    assert fine.shape[1] == places[1].channels > CLASSES
    assert fine.shape[2:].numel() > deep.flatten(2).shape[1 if deep.ndim == 3 else 2]
    assert output_shape(network, size) == (2, CLASSES, *size[1:])


def test_the_input_of_a_layer() -> None:
    network = BasicUNet(2, 1, 3, (4, 4, 4, 4, 4, 4)).eval()
    images = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        seen = until(network, "final_conv", images, before=True)
        assert torch.equal(seen, until(network, "upcat_1", images))
        assert torch.equal(network.final_conv(seen), network(images))


def test_coarse_features_are_interpolated_to_the_images() -> None:
    network = build("UNet", 3)
    embedder = Embedder(network, pooled=False, dimension=5, patch_size=[16] * 3)
    assert embedder(torch.randn(2, 1, 16, 16, 16)).shape == (2, 5, 16, 16, 16)


def test_channels_of_a_named_layer_are_found() -> None:
    network = build("BasicUNet", 2)
    embedder = Embedder(network, "down_3", spatial_dims=2, patch_size=[32, 32])
    assert embedder.feature == feature_at(network, "down_3", [1, 32, 32])
    assert embedder.feature.channels == 4


class Reader(nn.Module):
    """Network that reads a value, and holds a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.head = nn.Conv2d(4, 2, 1)
        self.shift = torch.ones(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.up(self.down(x + self.shift)))
        return found if float(found.sum()) > 0 else -found


def test_a_network_that_reads_values() -> None:
    network = Reader()
    assert deepest(network, [1, 8, 8]) == Feature("down", False, 6)
    assert before_head(network, [1, 8, 8]) == Feature("head", True, 4)
    assert output_shape(network, [1, 8, 8]) == (2, 2, 8, 8)
    with pytest.raises(RuntimeError, match="to have 1 channels"):
        output_shape(network, [3, 8, 8])


def test_what_has_no_features() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(ConfigError, match="returns a feature map"):
        deepest(flat, [1, 4, 4])
    with pytest.raises(ConfigError, match="runs no convolution"):
        before_head(flat, [1, 4, 4])
    with pytest.raises(ConfigError, match="returns no feature map"):
        feature_at(flat, "1", [1, 4, 4])
    with pytest.raises(ConfigError, match="patch_size and in_channels to find them"):
        Embedder(build("BasicUNet", 2))
