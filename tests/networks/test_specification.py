"""What --network says, as the config of a network; and what it must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.specification import network_from

NUMBERS = {"spatial_dims": 3, "in_channels": 2, "out_channels": 4}


class Own(nn.Module):
    """Network of a user's own, with other names for its channels."""

    def __init__(self, n_channels: int, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Conv2d(n_channels, num_classes, 1)


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("SegResNet", {"_target_": "SegResNet", **NUMBERS}),
        (
            "SegResNet(init_filters=16, blocks_down=(1, 2), act='relu')",
            {
                "_target_": "SegResNet",
                **NUMBERS,
                "init_filters": 16,
                "blocks_down": [1, 2],
                "act": "relu",
            },
        ),
        (
            "monai.networks.nets.VNet( bias = True )",
            {"_target_": "monai.networks.nets.VNet", **NUMBERS, "bias": True},
        ),
        (
            "tests.networks.test_specification.Own(width=8)",
            {
                "_target_": "tests.networks.test_specification.Own",
                "n_channels": 2,
                "num_classes": 4,
                "width": 8,
            },
        ),
        (
            "UNet(channels=[4, 8])",
            {
                "_target_": "UNet",
                **NUMBERS,
                "channels": [4, 8],
                "strides": [2, 2, 2, 2],
                "num_res_units": 2,
            },
        ),
    ],
    ids=["name", "keywords", "dotted path", "names of one's own", "required values"],
)
def test_a_config(text: str, config: dict[str, Any]) -> None:
    assert network_from(text, **NUMBERS) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SegResNett", "did you mean SegResNet,"),
        ("segresnet", "did you mean SegResNet,"),
        ("SegResNet(init_filter=8)", "did you mean 'init_filters'"),
        ("HighResNet(32)", "keyword=value"),
        ("SegResNet(init_filters=print)", "each value as in Python"),
        ("SegResNet(**{})", "keyword=value"),
        ("SegResNet(", "each value as in Python"),
        ("__import__('os').system('true')", "each value as in Python"),
        ("torch.nn.Linear", "no argument in_channels or out_channels"),
        ("torch.nn.functional.relu", "is no torch.nn.Module"),
        ("no_such_package.Net", "is not there"),
        ("AutoEncoder", "needs values for channels, strides"),
    ],
)
def test_what_is_no_network(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        network_from(text, **NUMBERS)
    assert words in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_values_are_never_evaluated(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(ConfigError):
        network_from(f"SegResNet(init_filters=open('{trap}', 'w'))", **NUMBERS)
    assert not trap.exists()
