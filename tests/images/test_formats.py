"""What kind a file is, by its content first, and which files a folder has."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from monai_semiseg.images.formats import (
    broken_link,
    detect_format,
    files_under,
    may_be_scan,
    picture_kind,
)

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def content(kind: str, folder: Path) -> bytes:
    """Return the bytes of a small file of a kind, as another program writes them."""
    if kind == "zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a", "b")
        return stream.getvalue()
    if kind == "empty zip":
        stream = io.BytesIO()
        zipfile.ZipFile(stream, "w").close()
        return stream.getvalue()
    if kind == "dicom":
        return bytes(128) + b"DICM" + bytes(100)
    file = folder / f"made.{kind}"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), file)
    return file.read_bytes()


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("nii", "nifti"),
        ("nii.gz", "nifti"),
        ("nrrd", "itk"),
        ("mha", "itk"),
        ("zip", "zip"),
        ("empty zip", "zip"),
        ("dicom", "dicom"),
    ],
)
@pytest.mark.parametrize("name", ["file", "a.txt", "a.nrrd", "a.NII"])
def test_the_content_goes_before_the_name(tmp_path: Path, kind: str, found: str, name: str) -> None:
    (tmp_path / name).write_bytes(content(kind, tmp_path))
    assert detect_format(tmp_path / name) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.nii", "nifti"),
        ("a.NII.GZ", "nifti"),
        ("a.nrrd", "itk"),
        ("a.nhdr", "itk"),
        ("a.mha", "itk"),
        ("a.MHD", "itk"),
        ("a.dcm", ""),
        ("a.txt", ""),
        ("nii", ""),
    ],
)
@pytest.mark.parametrize(
    "damaged", [b"", b"no scan", gzip.compress(b"no scan", mtime=0), b"\x1f\x8bcut"]
)
def test_the_name_decides_where_the_content_says_nothing(
    tmp_path: Path, name: str, found: str, damaged: bytes
) -> None:
    (tmp_path / name).write_bytes(damaged)
    assert detect_format(tmp_path / name) == found


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("IM0001", True),
        ("a.dcm", True),
        ("a.IMA", True),
        ("a.zip", True),
        ("a.nii.gz", True),
        ("a.mhd", True),
        ("a.txt", False),
        ("a.gz", False),
        ("dcm.json", False),
    ],
)
def test_names_that_scans_may_have(name: str, may: bool) -> None:
    assert may_be_scan(name) is may


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", ""])
def test_pictures(tmp_path: Path, kind: str) -> None:
    if kind:
        Image.new("L", (3, 2)).save(tmp_path / "picture", format=kind)
    else:
        (tmp_path / "picture").write_bytes(b"none")
    assert picture_kind(tmp_path / "picture") == kind


@pytest.mark.parametrize("head", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_every_kind_of_tiff(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "picture").write_bytes(head + bytes(8))
    assert picture_kind(tmp_path / "picture") == "TIFF"


def test_links(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "good").symlink_to("file")
    (tmp_path / "bad").symlink_to("nowhere")
    assert broken_link(tmp_path / "file") == ""
    assert broken_link(tmp_path / "good") == ""
    assert broken_link(tmp_path / "absent") == ""
    assert broken_link(tmp_path / "bad") == "a broken link to nowhere"


def test_files_of_a_folder(tmp_path: Path) -> None:
    """List files in order, hidden ones left out, links to folders once, also loops."""
    for name in ("b/2", "b/1", "a/3", ".hidden/4", "b/.5", "c"):
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    root = tmp_path / "root"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "6").touch()
    (root / "a" / "back").symlink_to(root)
    (root / "d").symlink_to(tmp_path / "other")
    (root / "e").symlink_to(tmp_path / "other")
    found = [str(path.relative_to(root)) for path in files_under(root)]
    assert found == ["c", "a/3", "b/1", "b/2", "d/6"]
    assert list(files_under(root / "c")) == [root / "c"]
    assert list(files_under(tmp_path / "absent")) == [tmp_path / "absent"]
