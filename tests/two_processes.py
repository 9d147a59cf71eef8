"""Two processes that meet in a file, for code that adds up or gathers over all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch.multiprocessing as mp

from tests.processes import PRELOADED


def in_two_processes(part: Callable[[int, str], None], folder: Path) -> None:
    """Run ``part(rank, folder)`` in two new processes; both have to end well."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    children = [context.Process(target=part, args=(rank, str(folder))) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
