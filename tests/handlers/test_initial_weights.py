"""Initial weights: they start a training, yield to a checkpoint, and have to fit."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from monai_semiseg.errors import CheckpointError
from monai_semiseg.handlers.checkpoint import InitialWeights
from tests.handlers.checkpoint_builders import build, equal, tiny_network


def test_initial_weights_start_a_training_and_yield_to_a_checkpoint(
    tmp_path: Path, whole: Any
) -> None:
    first = {}
    for name, folder in (("fresh", tmp_path), ("resumed", tmp_path / "resumed")):
        folder.mkdir(exist_ok=True)
        if name == "resumed":
            (folder / "checkpoint.pt").write_bytes((whole[0] / "checkpoint.pt").read_bytes())
        trainer, network, _ = build(
            folder, resume=True, init_weights=str(whole[0] / "model.pt"), seed=7
        )
        trainer.add_event_handler(
            Events.STARTED,
            lambda _, n=name, net=network: first.update(
                {n: {key: value.clone() for key, value in net.state_dict().items()}}
            ),
        )
        trainer.run()
    assert equal(first["fresh"], torch.load(whole[0] / "model.pt", weights_only=True))
    assert equal(first["resumed"], whole[2])


def test_initial_weights_yield_wherever_they_are_among_the_handlers(
    tmp_path: Path, whole: Any
) -> None:
    """Check handlers after the checkpoint's, where a method's overlay appends its own."""
    start = tiny_network().state_dict()
    torch.save(start, tmp_path / "start.pt")
    (tmp_path / "checkpoint.pt").write_bytes((whole[0] / "checkpoint.pt").read_bytes())
    for resume, wanted in ((False, start), (True, whole[2])):
        trainer, network, _ = build(tmp_path, resume=resume, seed=7)
        InitialWeights(network, str(tmp_path / "start.pt")).attach(trainer)
        trainer.add_event_handler(Events.STARTED, lambda engine: engine.terminate())
        trainer.run()
        assert equal(network.state_dict(), wanted)


def test_initial_weights_that_do_not_fit_stop_the_training(tmp_path: Path) -> None:
    torch.save({"other": torch.ones(3)}, tmp_path / "other.pt")
    trainer, _, trace = build(tmp_path, init_weights=str(tmp_path / "other.pt"))
    with pytest.raises(CheckpointError, match="0 of 4 tensors"):
        trainer.run()
    assert trace == []


@pytest.mark.parametrize("strict", [False, True])
def test_initial_weights_that_fit_in_part(tmp_path: Path, strict: bool) -> None:
    state = tiny_network().state_dict()
    torch.save(
        {name: value for name, value in state.items() if name != "3.bias"}, tmp_path / "part.pt"
    )
    network = tiny_network()
    engine = Engine(lambda *_: None)
    InitialWeights(network, str(tmp_path / "part.pt"), strict).attach(engine)
    with pytest.raises(CheckpointError, match="3 of 4") if strict else contextlib.nullcontext():
        engine.run([0])
    assert torch.equal(network.state_dict()["0.weight"], state["0.weight"]) is not strict
