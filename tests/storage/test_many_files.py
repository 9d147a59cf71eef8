"""A folder of thousands of files takes time with their number, and not with its square."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_semiseg.storage import files
from monai_semiseg.storage.files import write_atomically


def test_a_large_folder_is_not_listed_for_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings: list[int] = []
    real = os.listdir

    def counted(path: Path) -> list[str]:
        names = real(path)
        listings.append(len(names))
        return names

    for number in range(2000):
        (tmp_path / f"{number}").touch()
    monkeypatch.setattr(files.os, "listdir", counted)
    monkeypatch.setattr(files.os, "fsync", lambda _: None)
    for number in range(200):
        write_atomically(tmp_path / f"new{number}", "x")
    assert 1 <= len(listings) < 50
    assert len(real(tmp_path)) == 2200
