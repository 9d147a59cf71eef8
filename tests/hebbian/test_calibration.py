"""Calibration: outputs of selected layers are standardised, the rest is unchanged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.calibration import calibrate
from monai_semiseg.hebbian.layers import selected

from .test_layers import NETWORKS
from .test_learner import images, network


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("UNETR", "SwinUNETR")])
def test_outputs_are_standardised(name: str) -> None:
    net = network(name)
    batch = images(name)
    found = calibrate(net, batch)
    outputs: dict[str, Tensor] = {}
    for key, layer in selected(net).items():
        layer.register_forward_hook(
            lambda _, __, y, key=key: outputs.update({key: y.detach().clone()})
        )
    net.train()
    for module in net.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    net(batch)
    assert set(outputs) == set(found)
    for key, y in outputs.items():
        layer = selected(net)[key]
        axes = (0, 2, 3, 4)
        if y[:, 0].numel() > 16:
            torch.testing.assert_close(
                y.std(axes, correction=0), torch.ones(y.shape[1]), rtol=0, atol=2e-3
            )
            if layer.bias is not None:
                torch.testing.assert_close(y.mean(axes), torch.zeros(y.shape[1]), rtol=0, atol=2e-3)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_layer_alone(groups: int, transposed: bool) -> None:
    torch.manual_seed(0)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(4, 6, 2, stride=2, groups=groups).double()
    batch = torch.randn(3, 4, 8, 8, dtype=torch.float64) * 7 + 2
    before = layer(batch)
    calibrate(nn.Sequential(layer), batch, exclude=())
    mean, deviation = before.mean((0, 2, 3)), before.std((0, 2, 3), correction=0)
    expected = (before - mean.reshape(1, -1, 1, 1)) / deviation.reshape(1, -1, 1, 1)
    torch.testing.assert_close(layer(batch), expected, rtol=0, atol=1e-10)


def test_a_layer_that_runs_twice_is_calibrated_on_its_first_run() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 3, 1).double()
    batch = torch.randn(2, 3, 8, 8, dtype=torch.float64) * 7 + 2
    before = layer(batch)
    network = nn.Sequential(layer, nn.Softplus(), layer)
    found = calibrate(network, batch, layers={"layer": layer})
    first = layer(batch)
    torch.testing.assert_close(first.mean((0, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-10)
    spread = first.std((0, 2, 3), correction=0)
    torch.testing.assert_close(spread, torch.ones(3).double(), rtol=0, atol=1e-10)
    assert found["layer"][0] == pytest.approx(float(before.mean((0, 2, 3)).abs().mean()))


def test_modes_hooks_and_the_head_stay() -> None:
    net = network("SegResNet").eval()
    head = net.conv_final[2].conv.weight.clone()
    calibrate(net, images())
    assert not any(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(head, net.conv_final[2].conv.weight)


def test_dead_channels_are_left_alone() -> None:
    layer = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        layer.weight[1] = 0
    bias = float(layer.bias[1])  # type: ignore[index]
    calibrate(nn.Sequential(layer), torch.randn(2, 1, 6, 6), exclude=())
    assert torch.isfinite(layer.weight).all() and layer.weight[1] == 0
    assert float(layer.bias[1]) == bias  # type: ignore[index]


def test_a_channel_is_dead_by_its_spread_beside_the_liveliest() -> None:
    layer = nn.Conv2d(1, 3, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1e3, 1.1e-3, 0.9e-3]).reshape(3, 1, 1, 1))
    batch = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    calibrate(nn.Sequential(layer), batch, exclude=())
    spread = float(batch.std(correction=0))
    right = torch.tensor([1 / spread, 1 / spread, 0.9e-3], dtype=torch.float64)
    torch.testing.assert_close(layer.weight.flatten(), right)


def test_images_without_content() -> None:
    with pytest.raises(ConfigError, match="no layer's output varies"):
        calibrate(nn.Sequential(nn.Conv2d(1, 2, 1)), torch.zeros(2, 1, 6, 6), exclude=())
