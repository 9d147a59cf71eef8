"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from monai_semiseg.data.files import atomic_path, write_atomically
from monai_semiseg.errors import OutputError


def test_written_and_replaced(tmp_path: Path) -> None:
    file = write_atomically(tmp_path / "new" / "a.txt", "one")
    write_atomically(file, b"two")
    assert file.read_bytes() == b"two" and [path.name for path in file.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("x"), KeyboardInterrupt()]
)
def test_an_error_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    file = write_atomically(tmp_path / "a.txt", "old")
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)), atomic_path(file) as part:
        part.write_text("half")
        raise error
    assert file.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_suffixes_are_kept(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.nii.gz") as part:
        assert part.name.endswith(".nii.gz") and part.parent == tmp_path
        part.touch()


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    orphan, other = tmp_path / f".part-{child.pid}-a.txt", tmp_path / f".part-{child.pid}-b.txt"
    alive = tmp_path / f".part-{os.getppid()}-a.txt"
    for path in (orphan, other, alive):
        path.write_text("half")
    write_atomically(tmp_path / "a.txt", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.txt", other.name, alive.name])


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="E_DISK"):
        write_atomically(tmp_path / "file" / "a.txt", "x")
