"""A lock belongs to one process, whatever happens to the clock; memory is what the system says."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from monai_semiseg.storage.files import available_memory, resident_memory
from monai_semiseg.storage.lock import WorkLock


def test_setting_the_clock_frees_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = WorkLock(tmp_path / "lock")
    assert lock.acquire()
    platform = sys.modules[psutil.Process.__module__]._psplatform  # type: ignore[attr-defined]
    before = platform.boot_time()
    monkeypatch.setattr(platform, "boot_time", lambda: before + 3600)
    assert not WorkLock(tmp_path / "lock").free


def test_a_lock_is_free_once_its_process_is_gone_or_its_number_is_another_ones(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    take = "import sys; from pathlib import Path; from monai_semiseg.storage.lock import WorkLock\n"
    take += "assert WorkLock(Path(sys.argv[1])).acquire(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", take, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline()
        assert not WorkLock(path).free
        other.kill()
    assert WorkLock(path).free
    assert WorkLock(path).acquire()
    owner = json.loads(path.read_text())
    path.write_text(json.dumps({**owner, "started": "0.00"}))
    assert WorkLock(path).free


def test_a_lock_is_never_seen_without_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was killed between making and writing the file held it for five minutes."""
    path = tmp_path / "lock"

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        WorkLock(path).acquire()
    monkeypatch.undo()
    assert not path.exists() and WorkLock(path).acquire() and not WorkLock(path).acquire()


def test_a_lock_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "lock"
    assert WorkLock(path).acquire() and not WorkLock(path).acquire()
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_memory_is_what_the_system_says() -> None:
    before = resident_memory()
    with mmap.mmap(-1, 64 << 20) as block:  # new pages, whatever memory the process has kept
        for page in range(0, 64 << 20, mmap.PAGESIZE):
            block[page] = 1
        assert 60 < resident_memory() - before < 80
    assert 0 < available_memory() < psutil.virtual_memory().total
