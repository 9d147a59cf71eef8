"""Whoever begins last is the newest, on any machine, and nothing is left to free after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_semiseg.errors import OutputError
from monai_semiseg.storage.newest import Newest


def test_the_last_one_to_begin_goes_on(tmp_path: Path) -> None:
    first, second = Newest(tmp_path / "who.json"), Newest(tmp_path / "who.json")
    first.begin()
    first.note(pid=7)
    assert first.is_newest and second.read()["pid"] == 7
    second.begin()  # also if the first was killed
    assert second.is_newest and not first.is_newest
    first.close()  # it is not its own any more
    assert second.is_newest
    second.close()
    assert not list(tmp_path.iterdir()) and not second.is_newest


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"token": 3}'])
def test_a_record_that_is_none_is_replaced(content: str, tmp_path: Path) -> None:
    (tmp_path / "who.json").write_text(content)
    newest = Newest(tmp_path / "who.json")
    assert not newest.is_newest
    newest.begin()
    assert newest.is_newest


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        Newest(tmp_path / "file" / "who.json").begin()
