"""Fixtures for tests of networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.networks.weight_builders import net


@pytest.fixture
def source() -> nn.Module:
    """Build the network that weights come from."""
    torch.manual_seed(3)
    return net()
