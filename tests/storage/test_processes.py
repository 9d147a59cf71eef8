"""A process is told by its number and its start; one that has ended stays so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from monai_semiseg.storage.processes import end_process, is_running, started_at

WAIT = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_process_of_the_same_start_is_ended() -> None:
    with subprocess.Popen(WAIT) as process:
        started = started_at(process.pid)
        end_process(process.pid, "12.34")
        end_process(process.pid, "")
        assert is_running(process.pid) and started
        end_process(process.pid, started)
        assert not is_running(process.pid)  # it waits for us to ask how it ended
        assert process.wait() == -signal.SIGKILL
    assert not is_running(process.pid) and started_at(process.pid) == ""


def test_setting_the_clock_makes_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = started_at(os.getpid())
    created, booted = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted() + 3600)
    assert started_at(os.getpid()) == before
