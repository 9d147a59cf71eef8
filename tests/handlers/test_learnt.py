"""The line that says which weights a training has changed."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_semiseg.handlers.learnt import LearntWeights
from monai_semiseg.networks.learnt import learnt_since, percent, snapshot


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_shares_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    net = network()

    def step(_: Engine, __: int) -> None:
        with torch.no_grad():
            net[0].weight[0, 0, 0, 0] += 1
            net[1].running_mean.add_(1)

    engine = Engine(step)
    handler = LearntWeights(net)
    handler.attach(engine)
    engine.run([0], max_epochs=1)
    assert handler.learnt is not None
    total = 36 + 4 + 4 + 4 + 8 + 2  # weights and biases of the three layers
    assert handler.learnt.share == pytest.approx(36 / total)
    assert handler.learnt.changed == {"0.weight": 36}
    (record,) = caplog.records
    assert record.message.startswith("62.1 % of the weights were learnt (1 of 6 tensors); at their")
    assert record.message.endswith("start: 2 (17.2 %), 1 (13.8 %), 0 (6.9 %)")


def test_nothing_is_said_if_nothing_was_learnt(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(lambda _, __: None)
    LearntWeights(network()).attach(engine)
    engine.run([0], max_epochs=1)
    assert not caplog.records


def test_almost_all_is_not_all() -> None:
    assert [percent(share) for share in (0, 1e-9, 0.5, 1 - 1e-9, 1)] == [
        "0.0 %",
        "0.1 %",
        "50.0 %",
        "99.9 %",
        "100.0 %",
    ]
    net = network()
    assert learnt_since(snapshot(net), net).share == 0
