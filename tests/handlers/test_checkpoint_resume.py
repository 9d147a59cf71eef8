"""Resume of a training that was stopped anywhere: it ends bit for bit as an uninterrupted one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events

from tests.handlers.checkpoint_builders import (
    EPOCH_ITERATIONS,
    Stopped,
    assert_same_end,
    build,
    stop_at,
)
from tests.handlers.killed_trainings import KILLS
from tests.processes import run_module

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("iteration", "workers"), [(1, 0), (4, 0), (6, 0), (8, 1), (14, 0)])
def test_stopped_and_resumed_equals_uninterrupted(
    tmp_path: Path, whole: Any, iteration: int, workers: int
) -> None:
    trainer, _, first = build(tmp_path, workers=workers)
    stop_at(trainer, iteration)
    with pytest.raises(Stopped):
        trainer.run()
    # Another seed: whatever matters must come from the checkpoint.
    fresh_start = iteration < EPOCH_ITERATIONS
    trainer, _, second = build(
        tmp_path, workers=workers, resume=True, seed=0 if fresh_start else 99
    )
    trainer.run()
    saved = iteration // EPOCH_ITERATIONS * EPOCH_ITERATIONS
    expected = saved if iteration % EPOCH_ITERATIONS else saved - EPOCH_ITERATIONS
    assert second[0][0] == max(expected, 0) + 1
    assert_same_end(tmp_path, whole, first, second)


def test_stopped_twice(tmp_path: Path, whole: Any) -> None:
    traces = []
    for iteration in (5, 11, None):
        trainer, _, trace = build(tmp_path, resume=True)
        traces.append(trace)
        if iteration is None:
            trainer.run()
            continue
        stop_at(trainer, iteration)
        with pytest.raises(Stopped):
            trainer.run()
    assert_same_end(tmp_path, whole, *traces)


def test_dropout_makes_the_trace_depend_on_the_generator(tmp_path: Path, whole: Any) -> None:
    """Check that the random generator matters; otherwise the tests above would prove nothing."""
    trainer, _, trace = build(tmp_path)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda _: torch.rand(1))
    trainer.run()
    assert trace[:2] == whole[1][:2]
    assert trace[2:] != whole[1][2:]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with one killed training per moment, all forked from one fresh process."""
    folder = tmp_path_factory.mktemp("killed")
    done = run_module(["tests.handlers.killed_trainings", str(folder)], ROOT, os.environ)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_resumed_equals_uninterrupted(killed: Path, whole: Any, moment: str) -> None:
    folder = killed / moment
    lines = [line.split() for line in (folder / "trace.txt").read_text().splitlines()]
    first = [(int(iteration), float.fromhex(loss)) for iteration, loss in lines]
    assert first[-1][0] in (8, 9)
    trainer, _, second = build(folder, resume=True, seed=99)
    trainer.run()
    assert second[0][0] == 7
    assert_same_end(folder, whole, first, second)


def test_a_finished_training_resumes_to_nothing(tmp_path: Path, whole: Any) -> None:
    for name in ("checkpoint.pt", "model.pt", "learning_curve.csv"):
        (tmp_path / name).write_bytes((whole[0] / name).read_bytes())
    trainer, _, trace = build(tmp_path, resume=True)
    trainer.run()
    assert trace == []
    assert (tmp_path / "checkpoint.pt").read_bytes() == (whole[0] / "checkpoint.pt").read_bytes()


def test_resume_without_a_checkpoint_starts_fresh(tmp_path: Path, whole: Any) -> None:
    trainer, _, trace = build(tmp_path, resume=True)
    trainer.run()
    assert_same_end(tmp_path, whole, trace)


def test_without_resume_a_checkpoint_is_not_looked_at(tmp_path: Path, whole: Any) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not even a checkpoint")
    trainer, _, trace = build(tmp_path)
    trainer.run()
    assert_same_end(tmp_path, whole, trace)
