"""Processes of this machine: a stop reaches also one that is about to begin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_semiseg.errors import WorkerLostError
from monai_semiseg.executors.engine import plan_of
from monai_semiseg.executors.local import SlotExecutor
from tests.executors.light_work import Squares


def test_a_process_that_begins_during_a_stop_gets_no_work(tmp_path: Path) -> None:
    """Ask the others to end while it has no number yet."""
    slots = SlotExecutor([plan_of(Squares(tmp_path / "out"))])
    begin = slots._pool

    def stopped_meanwhile(*args: object) -> object:
        slots.terminate()
        return begin(*args)  # type: ignore[arg-type]

    slots._pool = stopped_meanwhile  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(WorkerLostError, match="the run ends"):
            slots.submit(os.getpid).result()
    finally:
        slots.shutdown()
    assert not (tmp_path / "out").exists()
