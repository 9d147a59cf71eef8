"""Listing: every scan under the inputs once, by content; every other file with the reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

from monai_semiseg.datasets.discover import detect_format, find_cases, read_case
from monai_semiseg.errors import ConfigError, FormatError


def reasons(root: Path) -> dict[str, str]:
    return {
        skipped.source.name: skipped.reason for skipped in find_cases(root, progress=False).skipped
    }


def test_content_counts_and_not_the_name(make: SimpleNamespace, tmp_path: Path) -> None:
    make.nifti(tmp_path / "s.nii").rename(tmp_path / "scan.dcm")
    make.series(tmp_path, count=1, name="slice.nii")
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    (tmp_path / "readme.txt").write_text("text")
    assert {
        name: detect_format(tmp_path / name)
        for name in ("scan.dcm", "slice.nii", "empty.nii.gz", "readme.txt")
    } == {"scan.dcm": "nifti", "slice.nii": "dicom", "empty.nii.gz": "nifti", "readme.txt": ""}
    assert reasons(tmp_path) == {"readme.txt": "not a scan"}


def test_a_mixed_tree(make: SimpleNamespace, tmp_path: Path) -> None:
    make.nifti(tmp_path / "a" / "one.nii.gz")
    make.nifti(tmp_path / "b" / "one.nii.gz")
    make.series(tmp_path / "study" / "t1")
    make.series(tmp_path / "study" / "both", name="x{}")
    make.series(tmp_path / "study" / "both", name="y{}")
    make.no_image(tmp_path / "study" / "t1" / "report")
    (tmp_path / ".hidden").mkdir()
    make.nifti(tmp_path / ".hidden" / "no.nii")
    found = find_cases(tmp_path, progress=False)
    assert [case.id for case in found.cases] == [
        "a/one",
        "b/one",
        "study/both_1",
        "study/both_2",
        "study/t1",
    ]
    assert [skipped.reason for skipped in found.skipped] == [
        "DICOM SR (structured report), not a scan"
    ]


def test_the_same_listing_twice_and_in_one_file(make: SimpleNamespace, tmp_path: Path) -> None:
    files = [make.nifti(tmp_path / name) for name in ("b.nii.gz", "a.nii", "1.2.840.nii")]
    ids = [case.id for case in find_cases(tmp_path, progress=False).cases]
    assert ids == ["1.2.840", "a", "b"]
    assert [find_cases(file, progress=False).cases[0].id for file in files] == ["b", "a", "1.2.840"]


def test_ids_never_collide(make: SimpleNamespace, tmp_path: Path) -> None:
    roots = [tmp_path / "x" / "scans", tmp_path / "y" / "scans"]
    for root in roots:
        make.nifti(root / "s.nii.gz")
        make.nifti(root / "s.nii")
        make.nifti(root / "S.NII")
    ids = [case.id for case in find_cases(roots, progress=False).cases]
    assert len({case_id.lower() for case_id in ids}) == 6


@pytest.mark.parametrize(
    "name", ["with space.nii", "ünïcode ß 脑.nii", f"{'n' * 240}.nii", "semi;colon'quote.nii"]
)
def test_names(make: SimpleNamespace, tmp_path: Path, name: str) -> None:
    make.nifti(tmp_path / "s.nii").rename(tmp_path / name)
    assert [case.id for case in find_cases(tmp_path, progress=False).cases] == [
        name.removesuffix(".nii")
    ]


@pytest.mark.parametrize("name", ["a:b.nii", "a\nb.nii", "a\\b.nii", 'a"b.nii', "a\u202eb.nii"])
def test_unsafe_characters_leave_the_id(make: SimpleNamespace, tmp_path: Path, name: str) -> None:
    make.nifti(tmp_path / "s.nii").rename(tmp_path / name)
    expected = {"a\nb.nii": "a_b", "a\u202eb.nii": "a_u202eb"}.get(name, "a_b")
    assert [case.id for case in find_cases(tmp_path, progress=False).cases] == [expected]


def test_links_are_followed_once(make: SimpleNamespace, tmp_path: Path) -> None:
    make.nifti(tmp_path / "a" / "s.nii")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "other").symlink_to(tmp_path / "a")
    assert len(find_cases(tmp_path, progress=False).cases) == 1


def test_odd_files_do_not_stop_the_others(make: SimpleNamespace, tmp_path: Path) -> None:
    make.nifti(tmp_path / "s.nii")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling.nii").symlink_to(tmp_path / "nowhere")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "nowhere")
    found = find_cases(tmp_path, progress=False)
    assert [case.id for case in found.cases] == ["dangling", "s"]
    assert sorted(s.source.name for s in found.skipped) == ["notes.txt", "pipe"]
    with pytest.raises(FormatError, match=r"a broken link .*nowhere"):
        read_case(found.cases[0])


def test_dicom_with_a_tiff_header_before_it_is_dicom(make: SimpleNamespace, tmp_path: Path) -> None:
    """Read DICOM files whose preamble is that of a TIFF file."""

    def two_in_one(data: pydicom.Dataset, k: int) -> None:
        data.preamble = b"II*\0".ljust(128, b"\0")

    make.series(tmp_path / "t1", edit=two_in_one)
    (case,) = find_cases(tmp_path, progress=False).cases
    assert (case.kind, len(case.files)) == ("dicom", 8)


def test_absent_input(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        find_cases(tmp_path / "nowhere", progress=False)


def test_pixels_stay_unread(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.series(tmp_path)
    seen = []
    read = pydicom.dcmread
    monkeypatch.setattr(
        pydicom, "dcmread", lambda *a, **k: seen.append(k["stop_before_pixels"]) or read(*a, **k)
    )
    find_cases(tmp_path, progress=False)
    assert seen == [True] * 8


def test_a_zip_is_a_folder(make: SimpleNamespace, tmp_path: Path) -> None:
    make.series(tmp_path / "in" / "t1")
    make.nifti(tmp_path / "in" / "n.nii.gz")
    shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "in")
    with find_cases(tmp_path / "study.zip", progress=False) as found:
        assert [case.id for case in found.cases] == ["study/n", "study/t1"]
        unpacked = found.cases[0].files[0]
        assert unpacked.is_file()
    assert not unpacked.exists()


def test_zip_in_zip_is_not_opened(make: SimpleNamespace, tmp_path: Path) -> None:
    make.nifti(tmp_path / "in" / "n.nii.gz")
    shutil.make_archive(str(tmp_path / "in" / "inner"), "zip", tmp_path / "in")
    shutil.make_archive(str(tmp_path / "outer"), "zip", tmp_path / "in")
    with find_cases(tmp_path / "outer.zip", progress=False) as found:
        assert [case.id for case in found.cases] == ["outer/n"]
        assert [skipped.reason for skipped in found.skipped] == ["an archive within an archive"]
