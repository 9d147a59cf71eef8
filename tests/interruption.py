"""A process that is killed at a chosen change of its files: no clock decides at which."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import tqdm

WRITES = os.O_WRONLY | os.O_RDWR
CHANGES = ("os.rename", "os.link", "os.remove", "os.mkdir")


def die_at(change: int, folder: Path) -> None:
    """Kill this process at its ``change``-th change of a file below the folder.

    A rename or a removal has not happened then; a file that is opened to be written is torn.
    """
    counted = itertools.count(1)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] & WRITES
        if not writes and event not in CHANGES:
            return
        if not isinstance(arguments[0], str | os.PathLike):
            return
        if Path(arguments[0]).is_relative_to(folder) and next(counted) == change:
            if writes:
                os.write(os.open(arguments[0], arguments[2], 0o600), b"torn")
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def survives(work: Callable[[], object], folder: Path, change: int) -> bool:
    """Do the work in a child process that is killed at a change; return whether it ended before."""

    def child() -> None:
        # OpenMP's threads do not survive a fork: the first parallel loop would wait for them.
        torch.set_num_threads(1)
        # Forks share the one there is, and a killed one may hold it.
        tqdm.set_lock(threading.RLock())
        die_at(change, folder)
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


@pytest.fixture(scope="session")
def count_kills() -> Callable[..., int]:
    """Kill work at one change after another, each time later, until it gets through."""

    def count(work: Callable[[], object], folder: Path, step: int) -> int:
        for kills in range(1000):
            if survives(work, folder, 1 + kills * step):
                return kills
        raise AssertionError("it never gets through")

    return count
