"""What a person sees of a training: the bar over the whole budget, and the learning curve's files."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from PIL import Image

from monai_semiseg.errors import ConfigError
from monai_semiseg.handlers.progress import LearningCurve, TrainingProgress, draw_curve, last_metric


def trainer_with_losses(losses: list[float]) -> Engine:
    return Engine(
        lambda engine, _: {
            "loss": torch.tensor(losses[engine.state.iteration - 1], requires_grad=True)
        }
    )


def evaluator_of(trainer: Engine, metrics: list[float | None]) -> Engine:
    """Stands for a validation after every epoch; None is an epoch without one."""
    evaluator = Engine(lambda engine, _: None)
    evaluator.state.key_metric_name = "dice"

    def validate(engine: Engine) -> None:
        metric = metrics[engine.state.epoch - 1]
        if metric is not None:
            evaluator.state.epoch = engine.state.epoch
            evaluator.state.metrics = {"dice": metric}

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    return evaluator


def run_curve(folder: Path, **settings: Any) -> LearningCurve:
    trainer = trainer_with_losses([1.0, 2.0, 3.0, 5.0, 0.5, 0.25])
    curve = LearningCurve(str(folder), evaluator_of(trainer, [0.25, None, 0.75]), **settings)
    curve.attach(trainer)
    trainer.run([0, 0], max_epochs=3)
    return curve


def test_curve_has_the_mean_loss_of_every_epoch_and_the_metric_where_validation_ran(
    tmp_path: Path,
) -> None:
    run_curve(tmp_path)
    rows = list(csv.DictReader((tmp_path / "learning_curve.csv").open()))
    assert [row["iteration"] for row in rows] == ["2", "4", "6"]
    assert [float(row["loss"]) for row in rows] == [1.5, 4.0, 0.375]
    assert [row["validation"] for row in rows] == ["0.250000", "", "0.750000"]


def test_curve_is_drawn(tmp_path: Path) -> None:
    curve = run_curve(tmp_path)
    first = Image.open(tmp_path / "learning_curve.png")
    assert first.size == (770, 385)
    assert len(first.convert("RGB").getcolors(10**6) or []) > 20
    draw_curve(curve.rows[:1], tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "learning_curve.png").read_bytes()


def test_curve_without_validation(tmp_path: Path) -> None:
    trainer = trainer_with_losses([1.0, 0.5])
    LearningCurve(str(tmp_path)).attach(trainer)
    trainer.run([0], max_epochs=2)
    assert (
        tmp_path / "learning_curve.csv"
    ).read_text() == "iteration,loss,validation\n1,1.000000,\n2,0.500000,\n"
    assert (tmp_path / "learning_curve.png").stat().st_size > 1000


def test_curve_continues_after_its_state(tmp_path: Path) -> None:
    before = run_curve(tmp_path / "a")
    trainer = trainer_with_losses([9.0] * 6 + [4.0, 6.0])
    curve = LearningCurve(str(tmp_path / "b"))
    curve.load_state_dict(before.state_dict())
    curve.attach(trainer)
    trainer.run([0, 0], max_epochs=1)
    lines = (tmp_path / "b" / "learning_curve.csv").read_text().splitlines()
    assert lines[:4] == (tmp_path / "a" / "learning_curve.csv").read_text().splitlines()
    assert len(lines) == 5
    assert len(before.rows) == 3, "the state that was handed over is not shared"


def test_curve_of_a_process_that_does_not_write(tmp_path: Path) -> None:
    assert len(run_curve(tmp_path, write=False).rows) == 3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_an_error_with_the_iteration(
    tmp_path: Path, bad: float
) -> None:
    trainer = trainer_with_losses([1.0, 1.0, bad, 1.0])
    LearningCurve(str(tmp_path)).attach(trainer)
    with pytest.raises(ConfigError, match="after 4 iterations"):
        trainer.run([0, 0], max_epochs=2)
    assert (tmp_path / "learning_curve.csv").read_text().splitlines()[1:] == ["2,1.000000,"]


def test_last_metric() -> None:
    evaluator = Engine(lambda engine, _: None)
    assert last_metric(None) is None
    assert last_metric(evaluator) is None
    evaluator.state.key_metric_name = "dice"
    assert last_metric(evaluator) is None
    evaluator.state.metrics = {"dice": torch.tensor(0.5), "other": 0.1}
    assert last_metric(evaluator) == 0.5


@pytest.mark.filterwarnings("error::UserWarning")
def test_bar_spans_the_whole_budget_and_shows_loss_and_validation(
    capfd: pytest.CaptureFixture[str],
) -> None:
    trainer = trainer_with_losses([1.0, 2.0, 3.0, 0.125])
    progress = TrainingProgress(evaluator_of(trainer, [0.5, 0.75]), "Fitting")
    progress.attach(trainer)
    seen: list[tuple[int, int, str]] = []
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED,
        lambda _: seen.append((progress.bar.n, progress.bar.total, progress.bar.postfix)),
    )
    trainer.run([0, 0], max_epochs=2)
    assert seen == [
        (2, 4, "loss=2.000, validation=0.5000"),
        (4, 4, "loss=0.125, validation=0.7500"),
    ]
    assert "Fitting: 100%" in capfd.readouterr().err


def test_bar_of_a_resumed_training_starts_where_it_goes_on() -> None:
    trainer = trainer_with_losses([1.0] * 6)
    progress = TrainingProgress()

    def resume(engine: Engine) -> None:
        engine.state.iteration = 4
        engine.state.epoch = 2

    trainer.add_event_handler(Events.STARTED, resume)
    progress.attach(trainer)
    first: list[int] = []
    trainer.add_event_handler(Events.STARTED, lambda _: first.append(progress.bar.n))
    trainer.run([0, 0], max_epochs=3)
    assert (first, progress.bar.initial, progress.bar.n, progress.bar.total) == ([4], 4, 6, 6)


def test_an_error_closes_the_bar_and_is_not_swallowed() -> None:
    trainer = trainer_with_losses([1.0])  # a second iteration has no loss to give
    progress = TrainingProgress()
    progress.attach(trainer)
    with pytest.raises(IndexError):
        trainer.run([0, 0], max_epochs=1)
    assert progress.bar.disable, "closed"
