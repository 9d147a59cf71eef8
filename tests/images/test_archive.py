"""Archives from strangers: nothing outside the folder, no links, no bombs, nothing left behind."""

from __future__ import annotations

import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import ArchiveError
from monai_semiseg.images.archive import Archives

Fill = Callable[[zipfile.ZipFile], None]


def link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/passwd")


def double(archive: zipfile.ZipFile) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name", UserWarning)
        archive.writestr("a", "1")
        archive.writestr("a", "2")


UNSAFE: dict[str, tuple[Fill, str]] = {
    "zip slip": (lambda z: z.writestr("../evil", "x"), "outside"),
    "hidden zip slip": (lambda z: z.writestr("a/../../evil", "x"), "outside"),
    "backslashes": (lambda z: z.writestr("..\\evil", "x"), "outside"),
    "absolute": (lambda z: z.writestr("/evil", "x"), "outside"),
    "drive letter": (lambda z: z.writestr("C:/evil", "x"), "outside"),
    "symbolic link": (link, "symbolic link"),
    "two entries of one name": (double, "same name"),
    "bomb": (lambda z: z.writestr("bomb", bytes(50_000_000), zipfile.ZIP_DEFLATED), "unpacked"),
    "too many entries": (lambda z: [z.writestr(str(n), "") for n in range(60)], "61 entries"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("kind", UNSAFE)
def test_refused_whole(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_semiseg.images.archive.MAX_MEMBERS", 50)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    fill, words = UNSAFE[kind]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", "good")
        fill(archive)
    with find_cases(tmp_path / "a.zip", progress=False) as found:
        assert [case.id for case in found.cases] == ["a"]
        with pytest.raises(ArchiveError, match=words) as caught:
            read_case(found.cases[0])
        assert str(tmp_path / "a.zip") in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "temporary"]


def test_encrypted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "secret")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="encrypted"):
        Archives().unpack(tmp_path / "a.zip")


def test_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"text " * 1000)
    content = (tmp_path / "a.zip").read_bytes()
    for name, part in (
        ("half.zip", content[: len(content) // 2]),
        ("bits.zip", content.replace(content[40:44], b"~~~~")),
    ):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(ArchiveError, match="cannot be unpacked"):
            Archives().unpack(tmp_path / name)
