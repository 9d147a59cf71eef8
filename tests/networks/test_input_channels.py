"""Weights for one channel in a network for several: the same answer where channels agree."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet
from torch import nn

from monai_semiseg.errors import CheckpointError
from monai_semiseg.networks.input_channels import with_input_channels
from monai_semiseg.networks.weights import load_weights

FEATURES = (4, 4, 8, 8, 8, 4)


def build(kind: str, channels: int, spatial_dims: int) -> nn.Module:
    """A network as the bundles have it, or one whose input also takes a residual path."""
    if kind == "BasicUNet":
        return BasicUNet(spatial_dims, channels, 2, FEATURES).eval()
    return UNet(spatial_dims, channels, 2, (4, 8), (2,), num_res_units=2).eval()


@pytest.mark.parametrize("kind", ["BasicUNet", "UNet"])
@pytest.mark.parametrize(("channels", "spatial_dims"), [(3, 2), (4, 3)])
def test_an_image_that_is_alike_in_all_channels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, channels: int, spatial_dims: int
) -> None:
    torch.manual_seed(0)
    old, new = build(kind, 1, spatial_dims), build(kind, channels, spatial_dims)
    torch.save(old.state_dict(), tmp_path / "old.pt")
    with caplog.at_level(logging.WARNING):
        match = load_weights(new, tmp_path / "old.pt")
    assert not match.missing and not match.unused
    assert [f"repeated for {channels} channels" in text for text in caplog.messages] == [True]
    image = torch.randn(1, 1, *[32] * spatial_dims)
    with torch.no_grad():
        expected = old(image)
        given = new(image.expand(-1, channels, *[-1] * spatial_dims))
    assert torch.allclose(given, expected, atol=1e-5)


def test_other_weights_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    for before, after in ((1, 1), (3, 3), (3, 4), (4, 1)):
        state = build("BasicUNet", before, 2).state_dict()
        found = with_input_channels(state, build("BasicUNet", after, 2))
        assert all(found[name] is value for name, value in state.items())
    assert not caplog.messages


def test_prediction_takes_no_weights_of_another_number_of_channels(tmp_path: Path) -> None:
    torch.save(build("BasicUNet", 1, 2).state_dict(), tmp_path / "old.pt")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_weights(build("BasicUNet", 3, 2), tmp_path / "old.pt", strict=True)
