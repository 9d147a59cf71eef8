"""What tests of checkpoints share: a training that nobody stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.handlers.checkpoint_builders import Trace, build


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace, dict[str, torch.Tensor]]:
    """Run the uninterrupted training; return its folder, trace and last weights."""
    folder = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)
    trainer, network, trace = build(folder)
    trainer.run()
    return folder, trace, network.state_dict()
