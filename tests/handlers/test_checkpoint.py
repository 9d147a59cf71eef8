"""Files of a checkpoint: what they hold, what they survive, and which are refused."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_semiseg.errors import CheckpointError, ConfigError, OutputError
from monai_semiseg.handlers.checkpoint import TrainingCheckpoint
from tests.handlers.checkpoint_builders import (
    EPOCH_ITERATIONS,
    EPOCHS,
    assert_same_end,
    build,
    tiny_network,
)


@pytest.mark.parametrize("epochs", [1, 3])
def test_without_validation_the_last_weights_are_kept(tmp_path: Path, epochs: int) -> None:
    """Return weights of the network that is shipped: here a moving average."""
    student, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def step(engine: Engine, _: Any) -> None:
        with torch.no_grad():
            student.weight.fill_(engine.state.iteration)
            average.weight.fill_(engine.state.iteration / 2)

    trainer = Engine(step)
    TrainingCheckpoint(str(tmp_path), average, {"student": student}).attach(trainer)
    trainer.run([0] * EPOCH_ITERATIONS, max_epochs=epochs)
    kept = torch.load(tmp_path / "model.pt", weights_only=True)
    assert float(kept["weight"]) == epochs * EPOCH_ITERATIONS / 2


def test_files_hold_tensors_and_plain_values_only(whole: Any) -> None:
    content = torch.load(whole[0] / "checkpoint.pt", weights_only=True)
    assert set(content) == {
        "network",
        "iteration",
        "epoch",
        "best",
        "budget",
        "random",
        "scaler",
        "optimizer",
        "lr_scheduler",
        "curve",
    }
    model = torch.load(whole[0] / "model.pt", weights_only=True)
    assert list(model) == list(tiny_network().state_dict())
    assert all(isinstance(value, torch.Tensor) for value in model.values())
    assert not list(whole[0].glob(".part*"))


def test_a_full_disk_leaves_the_previous_checkpoint(
    tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save
    written = []

    def broken(content: Any, stream: BinaryIO) -> None:
        written.append(Path(stream.name).name)
        if sum("checkpoint" in name for name in written) == 3:
            stream.write(b"the first bytes")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, stream)

    monkeypatch.setattr(torch, "save", broken)
    trainer, _, first = build(tmp_path)
    with pytest.raises(OutputError, match="No space left"):
        trainer.run()
    assert not list(tmp_path.glob(".part*"))
    assert (
        torch.load(tmp_path / "checkpoint.pt", weights_only=True)["iteration"]
        == 2 * EPOCH_ITERATIONS
    )
    monkeypatch.undo()
    trainer, _, second = build(tmp_path, resume=True, seed=99)
    trainer.run()
    assert_same_end(tmp_path, whole, first, second)


class Payload:
    """Object that runs code when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file, content: file.write_bytes(file.read_bytes()[:-200]), "damaged"),
        (lambda file, content: file.write_bytes(b""), "damaged"),
        (lambda file, content: file.write_text("hello"), "damaged"),
        (lambda file, content: torch.save([1], file), "list"),
        (lambda file, content: torch.save(without(content, "optimizer"), file), "optimizer"),
        (lambda file, content: torch.save(without(content, "random"), file), "random"),
        (lambda file, content: torch.save({**content, "best": 0.5}, file), "does not fit"),
        (
            lambda file, content: torch.save(
                {**content, "network": tiny_network(6).state_dict()}, file
            ),
            "size mismatch",
        ),
        (
            lambda file, content: torch.save(
                {**content, "optimizer": Payload(file.parent / "proof")}, file
            ),
            "pickled",
        ),
        (
            lambda file, content: file.write_bytes(pickle.dumps(Payload(file.parent / "proof"))),
            "more than tensors",
        ),
    ],
)
def test_an_unusable_checkpoint_is_refused(
    tmp_path: Path, whole: Any, spoil: Callable[..., Any], words: str
) -> None:
    file = tmp_path / "checkpoint.pt"
    file.write_bytes((whole[0] / "checkpoint.pt").read_bytes())
    spoil(file, torch.load(file, weights_only=True))
    trainer, _, trace = build(tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=words) as caught:
        trainer.run()
    assert str(file) in str(caught.value)
    assert trace == []
    assert not (tmp_path / "proof").exists()


def test_another_budget_is_refused_at_the_start(tmp_path: Path, whole: Any) -> None:
    """Check that another budget is refused early: the schedule would fail only at its end."""
    (tmp_path / "checkpoint.pt").write_bytes((whole[0] / "checkpoint.pt").read_bytes())
    trainer, _, trace = build(tmp_path, resume=True, epochs=EPOCHS + 2)
    with pytest.raises(CheckpointError, match=r"5 x 3, now 7 x 3"):
        trainer.run()
    assert trace == []


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    trainer, network, _ = build(tmp_path)

    def spoil(engine: Engine) -> None:
        if engine.state.iteration == 5:
            with torch.no_grad():
                network[0].weight.fill_(float("nan"))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, spoil)
    with pytest.raises(ConfigError, match="the loss is nan after 6 iterations"):
        trainer.run()
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["iteration"] == 3
    assert all(torch.isfinite(value).all() for value in content["network"].values())
