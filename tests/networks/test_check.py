"""The check of a network before any work, with a patch that fits in the message."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.check import check_network_of
from tests.network_zoo import NETWORKS, config_of


class Classifier(nn.Module):
    """Network that returns one number for each class."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_channels, out_channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(images.flatten(2).mean(2))
        return found


def check(config: dict[str, Any]) -> None:
    check_network_of(ConfigParser(config))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_passes_and_draws_no_random_number(name: str) -> None:
    before = torch.get_rng_state()
    check(config_of(name, 2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "fitting"),
    [
        ("DynUNet", [16, 24]),
        ("BasicUNet", [16, 32]),
        ("SegResNet", [14, 24]),
        ("UNETR", [16, 32]),
        ("SwinUNETR", [64, 64]),
    ],
)
def test_a_patch_that_does_not_fit(name: str, fitting: list[int]) -> None:
    config = config_of(name, 2) | {"patch_size": [13, 24]}
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert f"{name} does not take patches of 13 x 24" in caught.value.found
    text = ",".join(map(str, fitting))
    assert caught.value.remedy == f"--set patch_size=[{text}]"
    check(config | {"patch_size": fitting})


def test_no_patch_fits() -> None:
    config = config_of("BasicUNet", 2) | {"patch_size": [32, 32, 32]}
    with pytest.raises(ConfigError, match="images of this many axes"):
        check(config)


def test_no_segmentation_network() -> None:
    target = "tests.networks.test_check.Classifier"
    config = config_of("BasicUNet", 2)
    config["network_def"] = {
        "_target_": target,
        "in_channels": "@in_channels",
        "out_channels": "@out_channels",
    }
    with pytest.raises(ConfigError, match="use a segmentation network"):
        check(config)


def test_another_number_of_classes() -> None:
    config = config_of("BasicUNet", 2)
    config["network_def"]["out_channels"] = 7  # type: ignore[index]
    with pytest.raises(ConfigError, match="returns 32 x 32 of 7 channels"):
        check(config)
