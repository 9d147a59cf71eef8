"""One process per piece of work, over all machines that share a folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil

from monai_semiseg.storage.files import create_atomically

STALE_AFTER = (
    300.0  # seconds without a sign of life; file systems of several machines agree to a few seconds
)


class WorkLock:
    """A lock file that says who does a piece of work, and goes stale when they stop touching it.

    Args:
        path: the lock file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.held = path, False

    def acquire(self) -> bool:
        """Take the lock, also from a process that is gone; False if somebody is at it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.free:
            return False
        if self.path.exists():
            aside = self.path.with_name(f"{self.path.name}.stale-{os.getpid()}")
            try:
                self.path.rename(aside)  # only one of several takers succeeds
            except FileNotFoundError:
                return False
            _end_orphan(aside)
            aside.unlink()
        self.held = create_atomically(self.path, json.dumps(_me()))
        return self.held

    @property
    def free(self) -> bool:
        """Whether nobody is at it: there is no lock, or its owner is gone."""
        return not self.path.exists() or self._is_stale()

    def note_child(self, pid: int) -> None:
        """Say which process does the work, so that whoever comes after a kill can end it first."""
        self.path.write_text(json.dumps({**_me(), "child": pid, "child_started": _started(pid)}))

    def touch(self) -> None:
        """Give a sign of life."""
        if self.held:
            os.utime(self.path)

    def release(self) -> None:
        """Let others in."""
        if self.held:
            self.path.unlink(missing_ok=True)
            self.held = False

    def _is_stale(self) -> bool:
        try:
            owner = _read(self.path)
            silent = time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return False
        if owner.get("host") == socket.gethostname() and owner.get("pid"):
            return _started(int(owner["pid"])) != owner.get("started")
        return silent > STALE_AFTER


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError:  # killed while it was written
        return {}
    return content if isinstance(content, dict) else {}


def _started(pid: int) -> str:
    """When a process of this machine began; empty if it is gone.

    A pid alone may be somebody else's by now. Seconds since the machine started: setting its clock
    makes no process another one.
    """
    try:
        return f"{psutil.Process(pid).create_time() - psutil.boot_time():.2f}"
    except psutil.Error:
        return ""


def _end_orphan(path: Path) -> None:
    """End the process that a killed owner left running: two must not write into one folder."""
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
    """Whether a process has ended and its parent has not asked how; also if it is gone by now."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
