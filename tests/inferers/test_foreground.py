"""Windows over background are left out, and the rest of the mask is where it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.inferers.foreground import ForegroundInferer


class Seen(SimpleInferer):
    """Remembers the shape that the network was given."""

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        self.shape = tuple(inputs.shape[2:])
        return torch.as_tensor(super().__call__(inputs, network))


def body(seed: int = 0) -> Tensor:
    """Return air, and a block of 10 x 8 x 6 in it."""
    torch.manual_seed(seed)
    image = 0.01 * torch.rand(1, 1, 40, 36, 32)
    image[0, 0, 20:30, 5:13, 10:16] = 0.5 + torch.rand(10, 8, 6)
    return image


def above(x: Tensor) -> Tensor:
    return torch.cat([0.5 - x, x - 0.5], 1)


@pytest.mark.parametrize(
    "inner",
    [SimpleInferer(), SlidingWindowInferer((12, 12, 12), overlap=0.5)],
    ids=lambda inner: type(inner).__name__,
)
def test_labels_are_those_of_the_whole_scan(inner: Inferer) -> None:
    image = body()
    found = ForegroundInferer(inner, margin=3)(image, above)
    assert found.shape == (1, 2, 40, 36, 32)
    assert (
        torch.equal(found.argmax(1), inner(image, above).argmax(1)) and found.argmax(1).sum() > 400
    )
    assert torch.isfinite(found.half()).all()


@pytest.mark.parametrize(
    ("margin", "shape"), [(0, (10, 8, 6)), (3, (16, 14, 12)), (8, (26, 21, 22))]
)
def test_the_network_sees_the_box_and_its_margin(margin: int, shape: tuple[int, ...]) -> None:
    seen = Seen()
    ForegroundInferer(seen, margin=margin)(body(), above)
    assert seen.shape == shape


def test_a_constant_scan_is_run_whole() -> None:
    seen = Seen()
    found = ForegroundInferer(seen)(torch.ones(1, 1, 9, 8, 7), above)
    assert seen.shape == (9, 8, 7) and found.argmax(1).all()


def test_several_channels_and_a_real_network() -> None:
    network = nn.Conv3d(2, 3, 3, padding=1)
    image = torch.cat([body(), torch.randn(1, 1, 40, 36, 32)], 1)
    with torch.no_grad():
        found = ForegroundInferer(SimpleInferer(), margin=4)(image, network)
        inside = (..., slice(20, 30), slice(5, 13), slice(10, 16))
        torch.testing.assert_close(found[inside], network(image)[inside])
    assert not found.argmax(1)[0, :10].any()


def test_a_level_that_is_no_share() -> None:
    with pytest.raises(ConfigError, match=r"foreground level 1\.5"):
        ForegroundInferer(SimpleInferer(), level=1.5)
