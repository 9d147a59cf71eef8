"""Lock files: one process per task, on all machines that share a folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil

from monai_semiseg.storage.files import create_atomically, write_atomically

# Seconds without an update. Clocks of file systems on several machines differ by a few seconds.
STALE_AFTER = 300.0


class WorkLock:
    """A lock file that names its owner, and becomes stale when the owner stops updating it.

    Args:
        path: the lock file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held = False

    def acquire(self) -> bool:
        """Take the lock, also from a process that has ended; return False if it is in use."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.free:
            return False
        if self.path.exists():
            aside = self.path.with_name(f"{self.path.name}.stale-{os.getpid()}")
            try:
                self.path.rename(aside)  # only one of several processes succeeds
            except FileNotFoundError:
                return False
            _end_orphan(aside)
            aside.unlink()
        self.held = create_atomically(self.path, json.dumps(_me()))
        return self.held

    @property
    def free(self) -> bool:
        """Return True if there is no lock, or its owner has ended."""
        return not self.path.exists() or self._is_stale()

    def note_child(self, pid: int) -> None:
        """Record the child process that works, so that the next owner can end it after a kill."""
        write_atomically(
            self.path, json.dumps({**_me(), "child": pid, "child_started": _started(pid)})
        )

    def touch(self) -> None:
        """Update the time of the lock file, so that the lock does not become stale."""
        if self.held:
            os.utime(self.path)

    def release(self) -> None:
        """Remove the lock."""
        if self.held:
            self.path.unlink(missing_ok=True)
            self.held = False

    def _is_stale(self) -> bool:
        try:
            owner = _read(self.path)
            age = time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return False
        if owner.get("host") == socket.gethostname() and owner.get("pid"):
            return _started(int(owner["pid"])) != owner.get("started")
        return age > STALE_AFTER


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError:  # killed while it was written
        return {}
    return content if isinstance(content, dict) else {}


def _started(pid: int) -> str:
    """Return the start time of a process of this machine, as text; empty if it has ended.

    A process number alone is not enough: another process may have it by now. The time is in seconds
    since the machine started, so a change of its clock has no effect.
    """
    try:
        return f"{psutil.Process(pid).create_time() - psutil.boot_time():.2f}"
    except psutil.Error:
        return ""


def _end_orphan(path: Path) -> None:
    """End the process that a killed owner left: two must not write into one folder."""
    owner = _read(path)
    child = owner.get("child")
    if (
        owner.get("host") == socket.gethostname()
        and child
        and _started(child) == owner.get("child_started") != ""
    ):
        os.kill(child, signal.SIGKILL)
        while _started(child) == owner["child_started"] and not _is_zombie(child):
            time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    """Return True if a process is a zombie (ended, not yet reaped) or no longer exists."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
