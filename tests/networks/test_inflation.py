"""Inflated weights: a 3-D network gives the 2-D output in every slice of a constant volume."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from monai_semiseg.errors import CheckpointError
from monai_semiseg.networks.inflation import fitted


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
