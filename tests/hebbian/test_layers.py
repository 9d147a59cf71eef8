"""Selection of the layers of stock networks that learn."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import (
    UNETR,
    AttentionUnet,
    BasicUNet,
    DynUNet,
    SegResNet,
    SwinUNETR,
    UNet,
    VNet,
)
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.layers import convolutions, head, selected

NETWORKS = {
    "UNet": lambda: UNet(3, 1, 3, (4, 8, 16), (2, 2), num_res_units=1),
    "BasicUNet": lambda: BasicUNet(3, 1, 3, (4, 4, 8, 8, 8, 4)),
    "DynUNet": lambda: DynUNet(
        3, 1, 3, (3, 3, 3), (1, 2, 2), (2, 2), (4, 8, 16), deep_supervision=True
    ),
    "SegResNet": lambda: SegResNet(3, 8, 1, 3, blocks_down=(1, 1), blocks_up=(1,)),
    "VNet": lambda: VNet(3, 1, 3),
    "AttentionUnet": lambda: AttentionUnet(3, 1, 3, (4, 8, 16), (2, 2)),
    "SwinUNETR": lambda: SwinUNETR(
        1, 3, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)
    ),
    "UNETR": lambda: UNETR(
        1, 3, (32, 32, 32), feature_size=4, hidden_size=24, mlp_dim=24, num_heads=2
    ),
}
HEADS = {
    "UNet": ["model.2.0.conv", "model.2.1.conv.unit0.conv"],
    "BasicUNet": ["final_conv"],
    "DynUNet": ["output_block.conv.conv", "deep_supervision_heads.0.conv.conv"],
    "SegResNet": ["conv_final.2.conv"],
    "VNet": ["out_tr.conv_block.conv", "out_tr.conv2"],
    "SwinUNETR": ["out.conv.conv"],
    "UNETR": ["out.conv.conv"],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_is_left_out(name: str) -> None:
    network = NETWORKS[name]()
    out = head(network)
    assert all(convolutions(network)[one].out_channels == 3 for one in out) and out
    if name in HEADS:
        assert out == HEADS[name]
    assert list(selected(network)) == [one for one in convolutions(network) if one not in out]


def test_patterns() -> None:
    network = NETWORKS["BasicUNet"]()
    down = [name for name in convolutions(network) if name.startswith("down_")]
    assert list(selected(network, include=["down_*"])) == down
    assert len(down) == 8
    assert "final_conv" in selected(network, exclude=())
    without = selected(network, exclude=["upcat_1", "final_conv"])
    assert (
        not any(name.startswith("upcat_1.") for name in without)
        and "upcat_2.upsample.deconv" in without
    )


@pytest.mark.parametrize("field", ["include", "exclude"])
def test_a_pattern_that_matches_nothing(field: str) -> None:
    with pytest.raises(ConfigError, match="did you mean 'final_conv'"):
        selected(NETWORKS["BasicUNet"](), **{field: ["final_cnv"]})


def test_nothing_left_and_nothing_there() -> None:
    with pytest.raises(ConfigError, match="is left to learn"):
        selected(NETWORKS["BasicUNet"](), exclude=["*"])
    with pytest.raises(ConfigError, match="has no convolution"):
        selected(nn.Sequential(nn.Linear(2, 2)))


def test_shared_layers_count_once() -> None:
    shared = nn.Conv2d(2, 2, 3)
    assert list(convolutions(nn.Sequential(shared, nn.ReLU(), shared))) == ["0"]
    assert torch.is_tensor(shared.weight)
