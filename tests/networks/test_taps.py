"""Layers of stock networks are read and replayed; the networks stay as they were."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, SegResNet, UNet
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.auxiliary import (
    PerturbedDecoders,
    PyramidHeads,
    feature_drop,
    feature_dropout,
    feature_noise,
)
from monai_semiseg.networks.taps import named_layers, recorded, with_replayed


def basic(dims: int = 2) -> BasicUNet:
    torch.manual_seed(0)
    return BasicUNet(dims, 1, 3, features=(4, 4, 8, 8, 16, 4)).eval()


NETWORKS: dict[str, tuple[Any, list[str]]] = {
    "BasicUNet": (basic, ["conv_0", "down_*"]),
    "BasicUNet 3-D": (lambda: basic(3), ["conv_0", "down_*"]),
    "DynUNet": (
        lambda: DynUNet(2, 1, 3, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8]).eval(),
        ["input_block", "downsamples.*", "bottleneck"],
    ),
    "UNet": (lambda: UNet(2, 1, 3, [4, 8, 8], [2, 2]).eval(), ["model.0", "model.1.submodule.0"]),
    "SegResNet": (
        lambda: SegResNet(2, 8, 1, 3, blocks_down=(1, 1), blocks_up=(1,)).eval(),
        ["convInit", "down_layers.*"],
    ),
    "AttentionUnet": (lambda: AttentionUnet(2, 1, 3, [4, 8], [2]).eval(), ["model.0"]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_copy_with_replayed_encoder_is_the_network(name: str) -> None:
    build, patterns = NETWORKS[name]
    network = build()
    image = torch.randn(2, 1, *[32] * (3 if "3-D" in name else 2))
    layers = named_layers(network, patterns)
    keys = list(network.state_dict())
    decoder, replays = with_replayed(network, layers)
    with torch.no_grad(), recorded(layers) as features:
        expected = network(image)
        for layer, replay in replays.items():
            replay.output = features[layer]
        assert torch.equal(decoder(torch.zeros_like(image)), expected)
    parameters = itertools.chain.from_iterable(layer.parameters() for layer in layers.values())
    inside = sum(p.numel() for p in parameters)
    assert (
        sum(p.numel() for p in decoder.parameters())
        == sum(p.numel() for p in network.parameters()) - inside
    )
    assert list(network.state_dict()) == keys
    assert not any(module._forward_hooks for module in network.modules())


def test_layers_by_pattern() -> None:
    assert list(named_layers(basic(), ["down_*", "conv_0"])) == [
        "conv_0",
        "down_1",
        "down_2",
        "down_3",
        "down_4",
    ]
    with pytest.raises(ConfigError, match="no layer 'encoder'") as caught:
        named_layers(basic(), ["down_1", "encoder"])
    assert "upcat_4" in str(caught.value)


def test_hooks_go_after_an_error() -> None:
    network = basic()
    with pytest.raises(RuntimeError), recorded(named_layers(network, ["down_1"])):
        network(torch.randn(1, 7, 32, 32))
    assert not any(module._forward_hooks for module in network.modules())


def test_perturbed_decoders_reach_encoder_and_their_own_weights() -> None:
    network = basic()
    decoders = PerturbedDecoders(network, ["conv_0", "down_*"])
    weights = [next(iter(decoder.parameters())) for decoder in decoders.decoders]
    main = network.upcat_4.upsample[0].weight
    assert all(weight.shape == main.shape and not torch.equal(weight, main) for weight in weights)
    logits, outputs = decoders(network, torch.randn(4, 1, 32, 32), first=1)
    assert (
        logits.shape == (4, 3, 32, 32) and [tuple(o.shape) for o in outputs] == [(3, 3, 32, 32)] * 3
    )
    sum(output.square().mean() for output in outputs).backward()  # type: ignore[union-attr]
    assert network.conv_0.conv_0.conv.weight.grad is not None
    assert main.grad is None
    assert all(weight.grad is not None for weight in weights)


def test_pyramid_heads() -> None:
    network = basic()
    heads = PyramidHeads(network, ["upcat_3", "upcat_2"], 3, [1, 32, 32])
    assert [tuple(head.weight.shape) for head in heads.heads] == [(3, 8, 1, 1), (3, 4, 1, 1)]
    logits, outputs = heads(network, torch.randn(2, 1, 32, 32))
    assert [tuple(o.shape) for o in (logits, *outputs)] == [(2, 3, 32, 32)] * 3


def test_perturbations() -> None:
    torch.manual_seed(0)
    ones = torch.ones(50, 40, 6, 6)
    noisy = feature_noise(ones)
    assert (
        0.7 <= noisy.min() < 0.72 and 1.28 < noisy.max() <= 1.3 and torch.equal(noisy[0], noisy[1])
    )
    dropped = feature_dropout(ones)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert set((dropped == 0).flatten(2).float().mean(-1).unique().tolist()) == {0.0, 1.0}, (
        "whole channels"
    )
    active = torch.rand(3, 4, 8, 8)
    blank = feature_drop(active)
    mean = active.mean(1)
    gone = (blank == 0).all(1)
    assert gone.any() and not gone.all()
    for n in range(3):
        assert mean[n][gone[n]].min() > mean[n][~gone[n]].max()
        assert gone[n].flatten()[mean[n].argmax()]


def test_replay_of_nothing() -> None:
    decoder, _ = with_replayed(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)), {})
    assert decoder(torch.ones(1, 1, 2, 2)).shape == (1, 1, 2, 2)
