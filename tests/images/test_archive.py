"""Archives from strangers: nothing outside the folder, no links, no bombs, nothing left behind."""

from __future__ import annotations

import shutil
import stat
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace

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
    "too many entries": (lambda z: [z.writestr(str(n), "") for n in range(60)], "61 entries"),
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
    with pytest.raises(ArchiveError, match="an encrypted entry"):
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


def packed(folder: Path, sizes: list[int]) -> Path:
    """Write an archive of files of so many bytes."""
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, size in enumerate(sizes):
            archive.writestr(f"in/{number}", bytes(size))
    return folder / "a.zip"


def test_an_unpacked_folder_is_ours_alone_until_it_is_closed(tmp_path: Path) -> None:
    archives = Archives()
    folders = [archives.unpack(packed(tmp_path, [5, 7])) for _ in range(2)]
    assert folders[0] != folders[1]
    for folder in folders:
        assert [(folder / "in" / name).stat().st_size for name in "01"] == [5, 7]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert archives.holds(folder / "in" / "0")
        assert not archives.holds(folder.parent)
    archives.close()
    assert not any(folder.exists() for folder in folders)
    assert not archives.holds(folders[0] / "in" / "0")


def test_a_folder_that_is_gone_does_not_keep_the_others(tmp_path: Path) -> None:
    archives = Archives()
    gone, left = (archives.unpack(packed(tmp_path, [5])) for _ in range(2))
    shutil.rmtree(gone)
    archives.close()
    assert not left.exists()


@pytest.mark.parametrize(("most", "refused"), [(3, False), (2, True)])
def test_so_many_entries_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, refused: bool
) -> None:
    monkeypatch.setattr("monai_semiseg.images.archive.MAX_MEMBERS", most)
    path = packed(tmp_path, [1, 1, 1])
    with pytest.raises(ArchiveError, match="3 entries") if refused else nullcontext():
        Archives().unpack(path)


@pytest.mark.parametrize(("free", "refused"), [(40_000, False), (39_998, True)])
def test_half_of_the_free_space_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, refused: bool
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    path = packed(tmp_path, [15_000, 5_000])
    with pytest.raises(ArchiveError, match="20000 bytes") if refused else nullcontext():
        Archives().unpack(path)


@pytest.mark.parametrize(("beyond", "refused"), [(0, False), (1, True)])
def test_so_much_larger_than_the_archive_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beyond: int, refused: bool
) -> None:
    monkeypatch.setattr("monai_semiseg.images.archive.MAX_RATIO", 0)
    path = packed(tmp_path, [2**20 + beyond])
    with pytest.raises(ArchiveError, match="at most 0 times") if refused else nullcontext():
        Archives().unpack(path)


def test_the_larger_the_archive_the_more_it_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, [2**20 + 3000])
    assert 600 < path.stat().st_size < 3000
    with closing(Archives()) as archives:
        monkeypatch.setattr("monai_semiseg.images.archive.MAX_RATIO", 5)
        archives.unpack(path)
        monkeypatch.setattr("monai_semiseg.images.archive.MAX_RATIO", 1)
        with pytest.raises(ArchiveError, match="at most 1 times"):
            archives.unpack(path)
