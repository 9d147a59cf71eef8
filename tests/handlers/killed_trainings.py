"""Trainings that are killed at several moments, each in a process that this script forks."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from ignite.engine import Engine, Events

from tests.handlers.checkpoint_builders import build

KILLS = (
    "between iterations",
    "while model.pt is written",
    "while checkpoint.pt is written",
    "before the rename",
)


def train_and_be_killed(folder: Path, moment: str) -> None:
    """Train, append every loss to a file, and end by SIGKILL in the third epoch."""
    torch.set_num_threads(1)
    trainer, _, trace = build(folder)

    def die() -> None:
        (folder / "trace.txt").write_text("\n".join(f"{i} {loss.hex()}" for i, loss in trace))
        os.kill(os.getpid(), signal.SIGKILL)

    def write_half_and_die(save: Callable[..., None]) -> Callable[..., None]:
        def broken(content: Any, stream: BinaryIO) -> None:
            name = stream.name.rsplit("-", 1)[-1]
            save(content, stream)
            if moment.startswith(f"while {name}") and trainer.state.epoch == 3:
                stream.truncate(stream.tell() // 2)
                stream.flush()
                die()

        return broken

    def die_at(iteration: int) -> Callable[[Engine], None]:
        return lambda engine: die() if engine.state.iteration == iteration else None

    torch.save = write_half_and_die(torch.save)
    if moment == "between iterations":
        trainer.add_event_handler(Events.ITERATION_COMPLETED, die_at(8))
    if moment == "before the rename":
        rename = os.replace
        names = itertools.count()

        def rename_or_die(source: Any, target: Any) -> None:
            if next(names) == 11:
                die()
            rename(source, target)

        os.replace = rename_or_die
    trainer.run()


if __name__ == "__main__":
    for kill in KILLS:
        (Path(sys.argv[1]) / kill).mkdir()
        child = os.fork()
        if child == 0:
            train_and_be_killed(Path(sys.argv[1]) / kill, kill)
            os._exit(5)  # not killed
        status = os.waitpid(child, 0)[1]
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(f"{kill}: ended with status {status}")
