"""One map of logits from the outputs of networks with deep supervision."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from monai_semiseg.errors import ConfigError
from monai_semiseg.inferers.windows import WindowInferer
from monai_semiseg.networks.outputs import finest
from tests.network_zoo import build

FULL = torch.ones(2, 3, 8, 8)
HALF = torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    "output",
    [
        FULL,
        [FULL, HALF],
        (HALF, FULL),
        [torch.zeros_like(FULL), FULL],
        torch.stack([FULL, torch.zeros_like(FULL)], 1),
        (FULL, torch.zeros(())),
        {"aux": HALF, "out": FULL},
    ],
    ids=["one", "fine to coarse", "coarse to fine", "last of a size", "stack", "loss", "by name"],
)
def test_the_finest(output: object) -> None:
    assert torch.equal(finest(output, 2), FULL)


@pytest.mark.parametrize("output", [torch.zeros(()), None, [], [torch.zeros(2, 3)]], ids=repr)
def test_no_map(output: object) -> None:
    if isinstance(output, torch.Tensor):
        assert finest(output, 2) is output  # the caller checks shapes
    else:
        with pytest.raises(ConfigError, match="without a map of 2 axes"):
            finest(output, 2)


def test_windows_of_a_network_that_returns_a_list() -> None:
    network = build("BasicUNetPlusPlus", 2).eval()
    images = torch.randn(1, 1, 48, 40)
    with torch.no_grad():
        found = WindowInferer([32, 32], overlap=0.5)(images, network)
        expected = SlidingWindowInferer([32, 32], overlap=0.5)(images, lambda x: network(x)[-1])
    assert torch.equal(found, expected)
