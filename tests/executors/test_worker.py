"""A worker's log is no part of its work: what cannot be written there is dropped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from monai_semiseg.errors import OutputError
from monai_semiseg.executors.engine import plan_of
from monai_semiseg.executors.worker import begin_worker, do_chunk, end_work
from tests.executors.light_work import Squares


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk at hand")
def test_a_full_disk_is_named_though_the_log_cannot_name_it(tmp_path: Path) -> None:
    """Keep the log on the same disk: results before it stay, and the error is the work's."""
    plan = replace(plan_of(Squares(tmp_path / "out", fails=2)), log="/dev/full")
    begin_worker(plan)
    try:
        chunk = do_chunk(plan.token, range(4))
    finally:
        end_work(plan.token)
    assert chunk.results == [0, 1]
    assert isinstance(chunk.error, OutputError) and "disk full" in str(chunk.error)


def test_the_log_has_lines_as_they_come(tmp_path: Path) -> None:
    """Add to the log with every chunk."""
    log = tmp_path / "logs" / "worker.txt"
    plan = replace(plan_of(Squares(tmp_path / "out", fails=2)), log=str(log))
    begin_worker(plan)
    try:
        for _ in range(2):
            do_chunk(plan.token, [1, 2])
    finally:
        end_work(plan.token)
    assert log.read_text().count("E_DISK cannot be written (disk full)") == 2
