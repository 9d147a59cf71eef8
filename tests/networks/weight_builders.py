"""Small networks and state dicts for tests of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def net(channels: int = 3) -> nn.Module:
    """Build a small network with normalisation."""
    return nn.Sequential(
        nn.Conv3d(1, channels, 3), nn.BatchNorm3d(channels), nn.Conv3d(channels, 2, 1)
    )


def prefixed(state: State, prefix: str) -> State:
    """Put a prefix before every name."""
    return {prefix + name: value for name, value in state.items()}


def equal(a: State, b: State) -> bool:
    """Compare names and values."""
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)
