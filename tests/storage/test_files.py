"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monai_semiseg.errors import OutputError
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import atomic_path, write_atomically


def test_written_and_replaced(tmp_path: Path) -> None:
    file = write_atomically(tmp_path / "new" / "a.txt", "one")
    write_atomically(file, b"two")
    assert file.read_bytes() == b"two" and [path.name for path in file.parent.iterdir()] == [
        "a.txt"
    ]


def test_a_name_that_is_no_text_comes_back_from_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.nii")
    file = write_atomically(tmp_path / "a.json", json.dumps([name], ensure_ascii=False))
    assert file.read_bytes() == b'["caf\\udce9 \xc3\xa9.nii"]'
    assert os.fsencode(json.loads(file.read_text(encoding="utf-8"))[0]) == b"caf\xe9 \xc3\xa9.nii"
    assert printable(name) == "caf\\xe9 é.nii" and printable("plain é") == "plain é"
    assert "caf\\xe9" in str(OutputError("x", path=name))


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ValueError("x"), KeyboardInterrupt()],
)
def test_an_error_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    file = write_atomically(tmp_path / "a.txt", "old")
    with (
        pytest.raises(OutputError if isinstance(error, OSError) else type(error)),
        atomic_path(file) as part,
    ):
        part.write_text("half")
        raise error
    assert file.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_suffixes_are_kept(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.nii.gz") as part:
        assert part.name.endswith(".nii.gz") and part.parent == tmp_path
        part.touch()


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    """Keep files of other targets, and those that others write, here or on another machine."""
    write = (
        "import os, sys; from monai_semiseg.storage.files import atomic_path as path\n"
        "with path(sys.argv[1]) as part:"
    )
    kill = f"{write} part.write_text('half'); os._exit(9)"
    wait = f"{write} part.write_text('half'); print(flush=True); sys.stdin.read()"
    for name in ("a.txt", "b.txt"):
        subprocess.run([sys.executable, "-c", kill, tmp_path / name], check=False)
    killed = sorted(path.name for path in tmp_path.iterdir())
    with subprocess.Popen(
        [sys.executable, "-c", wait, tmp_path / "a.txt"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as living:
        assert living.stdout is not None and living.stdout.readline()
        elsewhere = tmp_path / killed[0].replace(killed[0].split("-")[1], "elsewhere")
        elsewhere.write_text("half")
        write_atomically(tmp_path / "a.txt", "whole")
        left = {path.name for path in tmp_path.iterdir()}
        assert (
            len(killed) == 2
            and killed[0] not in left
            and {killed[1], elsewhere.name, "a.txt"} < left
        )
        assert len(left) == 4  # and that of the process which is still writing


def test_what_was_left_for_a_longer_name_is_kept(tmp_path: Path) -> None:
    """Keep the part of ``b-a.txt``, whose name ends as ``a.txt`` does."""
    with atomic_path(tmp_path / "b-a.txt") as part:
        mine = part.name
        part.touch()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / mine.replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    left.write_text("half")
    write_atomically(tmp_path / "a.txt", "whole")
    assert left.exists()
    write_atomically(tmp_path / "b-a.txt", "whole")
    assert not left.exists()


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def write(text: str) -> None:
        with atomic_path(tmp_path / "a.txt") as part:
            part.write_text(text)
            both.wait(300)
            assert part.read_text() == text

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["one", "two"]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() in ("one", "two")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="E_DISK"):
        write_atomically(tmp_path / "file" / "a.txt", "x")
