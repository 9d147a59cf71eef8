"""Tiny networks of MONAI, as ``--network`` names them, and patches that they take."""

from __future__ import annotations

import torch
from monai.bundle import ConfigParser
from torch import nn

from monai_semiseg.networks.specification import network_from

CLASSES = 3
# Text of --network, and the patch in 2-D and in 3-D.
NETWORKS: dict[str, tuple[str, list[int], list[int]]] = {
    "AttentionUnet": ("AttentionUnet(channels=[4, 8, 8], strides=[2, 2])", [16] * 2, [16] * 3),
    "BasicUNet": ("BasicUNet(features=[4, 4, 4, 4, 4, 4])", [32] * 2, [32, 16, 16]),
    "BasicUNetPlusPlus": (
        "BasicUNetPlusPlus(features=[4, 4, 4, 4, 4, 4], deep_supervision=True)",
        [32] * 2,
        [32, 16, 16],
    ),
    "DynUNet": (
        "DynUNet(kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], "
        "filters=[4, 8, 8], deep_supervision=True)",
        [16] * 2,
        [16] * 3,
    ),
    "FlexibleUNet": (
        "FlexibleUNet(backbone='efficientnet-b0', decoder_channels=[4, 4, 4, 4, 4])",
        [64] * 2,
        [64, 32, 32],
    ),
    "SegResNet": (
        "SegResNet(init_filters=8, blocks_down=[1, 1], blocks_up=[1])",
        [16] * 2,
        [16] * 3,
    ),
    "SegResNetDS": (
        "SegResNetDS(init_filters=4, blocks_down=[1, 1, 1], dsdepth=2)",
        [16] * 2,
        [16] * 3,
    ),
    "SwinUNETR": (
        "SwinUNETR(feature_size=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4)",
        [64] * 2,
        [64, 32, 32],
    ),
    "UNETR": (
        "UNETR(feature_size=4, hidden_size=16, mlp_dim=16, num_heads=2)",
        [32] * 2,
        [32, 16, 16],
    ),
    "UNet": ("UNet(channels=[4, 8, 8], strides=[2, 2], num_res_units=1)", [16] * 2, [16] * 3),
    "VNet": ("VNet(dropout_prob_down=None)", [32] * 2, [32, 16, 16]),
}


def config_of(name: str, dims: int, channels: int = 1, classes: int = CLASSES) -> dict[str, object]:
    """Return what a bundle's config says of a network."""
    text, *patches = NETWORKS[name]
    if name == "VNet":
        text = text.replace("(", f"(dropout_dim={dims}, ")
    return {
        "spatial_dims": dims,
        "in_channels": channels,
        "out_channels": classes,
        "patch_size": patches[dims - 2],
        "network_def": network_from(
            text,
            spatial_dims="@spatial_dims",
            in_channels="@in_channels",
            out_channels="@out_channels",
        ),
    }


def build(name: str, dims: int, channels: int = 1, classes: int = CLASSES) -> nn.Module:
    """Build a network from such a config."""
    torch.manual_seed(0)
    network: nn.Module = ConfigParser(config_of(name, dims, channels, classes)).get_parsed_content(
        "network_def"
    )
    return network


def patch_of(name: str, dims: int) -> list[int]:
    """Return the size of a network's patch."""
    return NETWORKS[name][dims - 1]
