"""Processes of this machine: whether one still runs, and which one it is."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil


def is_running(pid: int) -> bool:
    """Return True if a process has not ended.

    A process that waits for its parent to ask how it ended (a zombie) has.
    """
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def started_at(pid: int) -> str:
    """Return the start time of a process, as text; empty if it has ended.

    A process number alone is not enough: another process may have it by now. The time is in seconds
    since the machine started, so a change of its clock has no effect.
    """
    try:
        return f"{psutil.Process(pid).create_time() - psutil.boot_time():.2f}"
    except psutil.Error:
        return ""


def end_process(pid: int, started: str) -> None:
    """End a process at once, and wait until it has ended.

    Args:
        pid: its number.
        started: as :func:`started_at` gave it; a process that started at another time stays.
    """
    if not started or started_at(pid) != started:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while is_running(pid) and started_at(pid) == started:
        time.sleep(0.05)
