"""Which weights a training keeps: the best by the smoothed metric, the last, and the gradient scaler with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_semiseg.handlers.checkpoint import TrainingCheckpoint


def epochs_of(
    folder: Path, metrics: list[float | None], smoothing: float, **settings: Any
) -> TrainingCheckpoint:
    """Run one iteration per epoch that sets the weight to the epoch's number; None is an epoch without validation."""
    network = nn.Linear(1, 1, bias=False)
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.key_metric_name = "dice"

    def step(engine: Engine, _: Any) -> None:
        with torch.no_grad():
            network.weight.fill_(engine.state.epoch)

    def validate(engine: Engine) -> None:
        metric = metrics[engine.state.epoch - 1]
        if metric is not None:
            evaluator.state.epoch = engine.state.epoch
            evaluator.state.metrics = {"dice": metric}

    trainer = Engine(step)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    settings = {"evaluator": evaluator, **settings}
    checkpoint = TrainingCheckpoint(str(folder), network, {}, smoothing=smoothing, **settings)
    checkpoint.attach(trainer)
    trainer.run([0], max_epochs=len(metrics))
    return checkpoint


def weight_in(file: Path) -> float:
    content = torch.load(file, weights_only=True)
    return float(content.get("network", content)["weight"])


@pytest.mark.parametrize(
    ("smoothing", "metrics", "best"),
    [
        (0.0, [0.2, 0.9, 0.5], 2),
        (0.0, [0.2, 0.9, 0.9], 2),
        (0.0, [0.3, 0.2, 0.1], 1),
        (0.0, [None, 0.5, None, 0.4, None], 2),
        (0.0, [0.0, 0.0], 1),
        (0.5, [0.5, 0.9, 0.6], 2),  # averages 0.5, 0.7, 0.65
        (0.5, [0.2, 0.9, 0.6], 3),  # averages 0.2, 0.55, 0.575: the single high value does not win
        (0.7, [0.4, 0.8, 0.6, 0.5], 3),  # averages 0.4, 0.52, 0.544, 0.531
    ],
)
def test_best_and_last_are_kept(
    tmp_path: Path, smoothing: float, metrics: list[float | None], best: int
) -> None:
    epochs_of(tmp_path, metrics, smoothing)
    assert weight_in(tmp_path / "model.pt") == best
    assert weight_in(tmp_path / "checkpoint.pt") == len(metrics)


def test_without_validation_the_last_weights_are_the_product(tmp_path: Path) -> None:
    epochs_of(tmp_path, [None, None, None], 0.7, evaluator=None)
    assert weight_in(tmp_path / "model.pt") == 3


def test_a_process_that_does_not_write(tmp_path: Path) -> None:
    checkpoint = epochs_of(tmp_path, [0.1, 0.2], 0.0, write=False)
    assert not list(tmp_path.iterdir())
    assert checkpoint.best == 0.2


def test_the_best_survives_a_resume(tmp_path: Path) -> None:
    epochs_of(tmp_path, [0.9, None, None], 0.0)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save({**content, "iteration": 1, "epoch": 1}, tmp_path / "checkpoint.pt")
    checkpoint = epochs_of(tmp_path, [None, 0.5, 0.8], 0.0, resume=True)
    assert checkpoint.best == 0.9
    assert weight_in(tmp_path / "model.pt") == 1


def test_the_gradient_scaler_is_part_of_the_checkpoint(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)
    scales = []
    for resume in (False, True):
        trainer = Engine(lambda engine, batch: None)
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        trainer.scaler.scale(torch.ones(1))
        TrainingCheckpoint(str(tmp_path), network, {}, resume=resume).attach(trainer)
        if not resume:
            trainer.scaler.update(128.0)
        trainer.run([0], max_epochs=1)
        scales.append(trainer.scaler.get_scale())
    assert scales == [128.0, 128.0]
