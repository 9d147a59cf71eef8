"""Atomic writes, so that a file is complete or absent, and file hashes."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from monai_semiseg.errors import OutputError

_MANY_FILES = 200  # in one folder
_next_listing: dict[Path, float] = {}  # by folder: when it may be listed again, monotonic seconds


@contextmanager
def output_errors(path: Path, remedy: str = "") -> Iterator[None]:
    """Turn what the system raises while ``path`` is written into an error that names it.

    Raises:
        OutputError: If the disk is full or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror or error})",
            expected="a folder that can be written, with room",
            remedy=remedy or "free disk space or choose another output folder, then run again",
            path=path,
        ) from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds.

    The data reach the disk before the rename, so a kill or a power cut leaves the old file or the
    new one, never a part. On an error the temporary file is removed. A temporary file that a killed
    process left is removed when the same machine writes the same target again. Threads, processes
    and machines may write one target at the same time: the last file stays. The temporary name
    keeps the suffixes, because writers choose the format by them.

    Raises:
        OutputError: If the disk is full or the folder cannot be written.
    """
    target = Path(path)
    part = _part_of(target)
    try:
        with output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(target)
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(target)
    finally:
        with suppress(OSError):  # it is not there, or its folder could not be made
            part.unlink()


def _part_of(target: Path) -> Path:
    """Return the temporary file beside a target that only this thread writes."""
    mine = f"{_machine()}-{os.getpid()}-{threading.get_native_id()}"
    return target.with_name(f".part-{mine}-{target.name}")


def _remove_orphans(target: Path) -> None:
    """Remove temporary files of a target that ended processes of this machine left behind.

    A folder of many files is not listed for every one of them, which would take time with the
    square of their number: the listings take at most a hundredth of the time.
    """
    begun = time.monotonic()
    if begun < _next_listing.get(target.parent, 0.0):
        return
    left = re.compile(rf"\.part-{_machine()}-(\d+)-\d+-{re.escape(target.name)}")
    names = os.listdir(target.parent)  # noqa: PTH208 - Path.iterdir takes ten times as long
    for name in names:
        if (found := left.fullmatch(name)) and not psutil.pid_exists(int(found[1])):
            target.with_name(name).unlink(missing_ok=True)
    if len(names) > _MANY_FILES:
        now = time.monotonic()
        _next_listing[target.parent] = now + 100 * (now - begun)


def _machine() -> str:
    """Return a short name of this machine, since several machines may share a folder.

    A process number has a meaning on one machine only. The name is cut, because file names have a
    maximum length, and has no hyphens, which separate the parts of the temporary name.
    """
    return re.sub(r"\W", "_", platform.node())[:16]


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    r"""Write ``content`` to ``path`` completely or not at all; return the path.

    Text is written as UTF-8. A byte of a file name that is not UTF-8 (a lone surrogate in Python)
    becomes an escape such as ``\udce9``, which JSON reads back as the same name.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    with atomic_path(path) as part:
        part.write_bytes(content)
    return Path(path)


def write_if_changed(path: Path, content: bytes | str) -> Path:
    """Write as :func:`write_atomically`, unless the file holds the same bytes; return the path."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    same = path.is_file() and path.read_bytes() == data
    return path if same else write_atomically(path, data)


def create_atomically(path: str | Path, content: str) -> bool:
    """Write a new file completely or not at all; return False if the file exists.

    Of several processes that try, one succeeds. A kill at any moment leaves no part of a file.
    """
    target = Path(path)
    part = _part_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(target)
    try:
        part.write_text(content)
        os.link(part, target)  # unlike a rename, it fails if the file exists
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        return _create(target, content)
    finally:
        part.unlink(missing_ok=True)
    return True


def _create(target: Path, content: str) -> bool:
    try:
        with target.open("x") as stream:
            stream.write(content)
    except FileExistsError:
        return False
    return True


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def available_memory() -> int:
    """Return the bytes of memory that a new allocation can use, free or reclaimable."""
    return int(psutil.virtual_memory().available)


def resident_memory() -> float:
    """Return the resident memory of this process in megabytes."""
    return float(psutil.Process().memory_info().rss) / 2**20
