"""Embeddings at a named layer of stock networks."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.embedding import Embedder
from monai_semiseg.networks.taps import until


def network(dims: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return BasicUNet(dims, 1, 2, (4, 4, 6, 8, 10, 4))


@pytest.mark.parametrize("dims", [2, 3])
def test_shapes(dims: int) -> None:
    images = torch.randn(2, 1, *[32] * dims)
    assert Embedder(network(dims), "down_4", 10, dims, dimension=7)(images).shape == (2, 7)
    local = Embedder(network(dims), "upcat_1", 4, dims, pooled=False, dimension=5)
    assert local(images).shape == (2, 5, *[32] * dims)


def test_layers_after_the_named_one_do_not_run_and_get_no_gradient() -> None:
    net = network()
    embedder = Embedder(net, "down_4", 10)
    ran: list[str] = []
    for name, module in net.named_children():
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    embedder(torch.randn(2, 1, 32, 32, 32)).square().sum().backward()
    assert ran == ["conv_0", "down_1", "down_2", "down_3", "down_4"]
    with_gradient = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None}
    assert with_gradient == set(ran)
    assert all(p.grad is not None and p.grad.any() for p in embedder.head.parameters())
    assert not net.down_4._forward_hooks


def test_features_are_those_of_the_whole_network() -> None:
    net = network().eval()
    images = torch.randn(1, 1, 32, 32, 32)
    seen = []
    handle = net.down_2.register_forward_hook(lambda _, __, y: seen.append(y))
    net(images)
    handle.remove()
    assert torch.equal(until(net, "down_2", images), seen[0])


def test_the_network_keeps_its_keys() -> None:
    net = network()
    keys = list(net.state_dict())
    Embedder(net, "down_4", 10)(torch.randn(2, 1, 32, 32, 32))
    assert list(net.state_dict()) == keys


def test_bad_layers() -> None:
    with pytest.raises(ConfigError, match="no layer 'down_9'"):
        Embedder(network(), "down_9", 10)
    with pytest.raises(ConfigError, match="set channels to 10"):
        Embedder(network(), "down_4", 12)(torch.randn(2, 1, 32, 32, 32))
    net = network()
    net.idle = nn.Conv3d(1, 1, 1)
    with pytest.raises(ConfigError, match="does not run"):
        until(net, "idle", torch.randn(1, 1, 32, 32, 32))
