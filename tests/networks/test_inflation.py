"""Weights for other axes and channels give the same output where slices or channels are alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet
from torch import nn

from monai_semiseg.errors import CheckpointError
from monai_semiseg.networks.inflation import fitted
from monai_semiseg.networks.weights import load_weights
from tests.network_zoo import NETWORKS, build


class Net(nn.Module):
    """Encoder and decoder without norms, which would depend on the ends of the volume."""

    def __init__(self, dims: int, up: int = 2) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        transposed = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
        self.first = conv(1, 4, 3, padding=1)
        self.down = conv(4, 6, 3, stride=2, padding=1)
        self.up = transposed(6, 4, up, stride=2, padding=(up - 2) // 2)
        self.last = conv(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(
            torch.relu(self.up(torch.relu(self.down(torch.relu(self.first(x))))))
        )
        return out


@pytest.mark.parametrize("up", [2, 4])
def test_alike_slices_give_the_2d_output(up: int) -> None:
    torch.manual_seed(0)
    flat, deep = Net(2, up), Net(3, up)
    deep.load_state_dict(fitted(flat.state_dict(), deep))
    image = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        expected = flat(image)
        found = deep(image[:, :, None].repeat(1, 1, 24, 1, 1))
    for depth in range(8, 16):  # away from the ends, where zeros are padded
        torch.testing.assert_close(found[:, :, depth], expected, atol=1e-5, rtol=1e-4)


def test_deflation_undoes_inflation() -> None:
    torch.manual_seed(0)
    flat, deep = BasicUNet(2, 1, 3, (4, 4, 8, 8, 8, 4)), BasicUNet(3, 1, 3, (4, 4, 8, 8, 8, 4))
    state = fitted(fitted(flat.state_dict(), deep), flat)
    assert set(state) == set(flat.state_dict())
    for name, value in flat.state_dict().items():
        torch.testing.assert_close(state[name], value)


def test_the_same_number_of_axes_changes_nothing_and_other_heads_are_left_out() -> None:
    source, target = BasicUNet(3, 1, 3, (4, 4, 8, 8, 8, 4)), BasicUNet(3, 1, 2, (4, 4, 8, 8, 8, 4))
    state = fitted(source.state_dict(), target)
    assert set(target.state_dict()) - set(state) == {"final_conv.weight", "final_conv.bias"}
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in state.items())
    with pytest.raises(CheckpointError, match="no tensor fits"):
        fitted({"other": torch.zeros(3)}, target)


# Channels

FEATURES = (4, 4, 8, 8, 8, 4)


def kernel(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return state["conv_0.conv_0.conv.weight"]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_equal_channels_give_the_output_of_one(dims: int, count: int) -> None:
    torch.manual_seed(0)
    one, many = (BasicUNet(dims, n, 3, FEATURES).eval() for n in (1, count))
    many.load_state_dict(fitted(one.state_dict(), many))
    expected = torch.cat([kernel(one.state_dict()) / count] * count, 1)
    assert torch.equal(kernel(many.state_dict()), expected)
    image = torch.randn(2, 1, *[32] * dims)
    with torch.no_grad():
        found = many(torch.cat([image] * count, 1))
        torch.testing.assert_close(found, one(image), atol=1e-5, rtol=1e-4)


def test_colours_are_summed_for_grey_images() -> None:
    torch.manual_seed(0)
    colour, grey = (BasicUNet(2, n, 3, FEATURES).eval() for n in (3, 1))
    grey.load_state_dict(fitted(colour.state_dict(), grey))
    red, green, blue = kernel(colour.state_dict()).unbind(1)
    assert torch.equal(kernel(grey.state_dict()), (red + green + blue)[:, None])
    image = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected = colour(image.repeat(1, 3, 1, 1))
        torch.testing.assert_close(grey(image), expected, atol=1e-5, rtol=1e-4)


def test_every_convolution_that_sees_the_image_gets_its_channels() -> None:
    """Adapt both of them in MONAI's residual UNet."""
    torch.manual_seed(0)
    settings = {"out_channels": 2, "channels": (4, 8), "strides": (2,), "num_res_units": 1}
    one = UNet(2, in_channels=1, **settings).eval()  # type: ignore[arg-type]
    many = UNet(2, in_channels=4, **settings).eval()  # type: ignore[arg-type]
    many.load_state_dict(fitted(one.state_dict(), many))
    image = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        found = many(image.repeat(1, 4, 1, 1))
        torch.testing.assert_close(found, one(image), atol=1e-5, rtol=1e-4)


def test_axes_and_channels_at_once() -> None:
    torch.manual_seed(0)
    flat, deep = BasicUNet(2, 1, 3, FEATURES), BasicUNet(3, 4, 3, FEATURES)
    state = fitted(flat.state_dict(), deep)
    assert set(state) == set(deep.state_dict())
    repeated = kernel(flat.state_dict())[:, :, None].expand(-1, 4, 3, -1, -1) / 3 / 4
    torch.testing.assert_close(kernel(state), repeated)


@pytest.mark.parametrize("counts", [(4, 3), (2, 4)])
def test_other_numbers_of_channels_mean_nothing(counts: tuple[int, int]) -> None:
    source, target = (BasicUNet(2, n, 3, FEATURES) for n in counts)
    left_out = set(target.state_dict()) - set(fitted(source.state_dict(), target))
    assert left_out == {"conv_0.conv_0.conv.weight"}


# Any network


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if name not in ("VNet", "FlexibleUNet")]
)
def test_other_channels_and_classes_of_any_network(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Check that each tensor of another shape is fitted or left, with a line of its own."""
    source, target = build(name, 2), build(name, 2, channels=3, classes=2)
    file = tmp_path / "model.pt"
    torch.save(source.state_dict(), file)
    own = {key: value.clone() for key, value in target.state_dict().items()}
    load_weights(target, file)
    lines = {record.message.split()[1]: record.message for record in caplog.records[:-1]}
    fitted_names = set()
    aliases = ("skip_layers.",) if name == "DynUNet" else ()  # the same tensors once more
    for key, value in source.state_dict().items():
        if key.startswith(aliases):
            assert key not in lines
            continue
        now = target.state_dict()[key]
        if value.shape == now.shape:
            assert torch.equal(now, value) and key not in lines
        elif value.shape[0] == now.shape[0] and value.shape[1] == 1:
            fitted_names.add(key)
            torch.testing.assert_close(now, torch.cat([value / 3] * 3, 1))
            assert "is fitted to the network: kernels of 1 channel repeated for 3" in lines[key]
        else:
            assert torch.equal(now, own[key]) and "is left at its start: " in lines[key]
    assert fitted_names and len(lines) > len(fitted_names)
    assert "tensors loaded; missing or of another shape" in caplog.records[-1].message
