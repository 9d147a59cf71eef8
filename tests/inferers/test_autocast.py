"""Mixed precision around any inferer: on inside, float32 outside, none if none is asked for."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.inferers.autocast import AutocastInferer


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("bfloat16_emulated", torch.bfloat16),
        ("float16_emulated", torch.float16),
        ("auto", torch.float32),
        (None, torch.float32),
    ],
)
def test_the_network_runs_in_the_format(name: str | None, inside: torch.dtype) -> None:
    torch.manual_seed(0)
    network = nn.Conv3d(1, 2, 3, padding=1).eval()
    seen = []
    network.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        plain = SimpleInferer()(image, network)
        seen.clear()
        found = AutocastInferer(SimpleInferer(), "cpu", name)(image, network)
    assert seen == [inside] and found.dtype is torch.float32
    assert torch.equal(found, plain) == (inside is torch.float32)
    torch.testing.assert_close(found, plain, rtol=0, atol=0.02)
    assert not torch.is_autocast_enabled("cpu")


def test_windows_too_and_unknown_names_are_refused() -> None:
    network = nn.Conv3d(1, 2, 1)
    windows = SlidingWindowInferer((4, 4, 4), 2, 0.5, mode="gaussian")
    image = torch.randn(1, 1, 7, 6, 5)
    with torch.no_grad():
        found = AutocastInferer(windows, "cpu", "bfloat16_emulated")(image, network)
        torch.testing.assert_close(found, windows(image, network), rtol=0, atol=0.03)
    with pytest.raises(ConfigError, match="half"):
        AutocastInferer(windows, "cpu", "half")
