"""One way into every reader: what is not there, is not one series, or has a fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_grid, read_scan
from monai_semiseg.images.volume import collect_warnings


def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_scan(tmp_path / "absent.nii")
    (tmp_path / "link.nii").symlink_to("gone.nii")
    with pytest.raises(InputError, match=r"a broken link to gone\.nii"):
        read_scan(tmp_path / "link.nii")


@pytest.mark.parametrize("read", [read_scan, read_grid])
def test_two_series_are_not_one_scan(make: SimpleNamespace, tmp_path: Path, read: object) -> None:
    make.series(tmp_path / "a")
    make.series(tmp_path / "b")
    with pytest.raises(InputError, match="2 DICOM series in one folder"):
        read(tmp_path)  # type: ignore[operator]
    for path in (tmp_path / "b").iterdir():
        path.unlink()
    read(tmp_path)  # type: ignore[operator]


def test_the_fault_of_a_series_is_named(make: SimpleNamespace, tmp_path: Path) -> None:
    """Write two stacks that differ in nothing that could tell them apart."""

    def double(data: Dataset, k: int) -> None:
        data.ImagePositionPatient = [0.0, 0.0, float(k // 2)]

    make.series(tmp_path, edit=double)
    with pytest.raises(InputError) as caught:
        read_scan(tmp_path)
    assert caught.value.code == "E_DUPLICATE"


def test_a_folder_its_files_and_its_grid_are_one(make: SimpleNamespace, tmp_path: Path) -> None:
    files = make.series(tmp_path)
    (tmp_path / "notes.txt").write_text("no scan")
    whole = read_scan(tmp_path)
    listed = read_scan([str(file) for file in files])
    np.testing.assert_array_equal(listed.array, whole.array)
    np.testing.assert_array_equal(listed.affine, whole.affine)
    grid = read_grid(tmp_path)
    assert grid.shape == whole.array.shape
    np.testing.assert_array_equal(grid.affine, whole.affine)


def test_what_is_no_scan(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no scan")
    with pytest.raises(InputError, match="no image in a format that is read here"):
        read_scan(tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in a format that is read here"):
        read_scan(tmp_path / "empty")


LEFT: dict[str, tuple[bytes, str]] = {  # what is in the file, and its name in the message
    "empty": (b"", "an empty file"),
    "zero bytes": (bytes(5000), "nothing but zero bytes"),
    "HTML": (b"<!DOCTYPE html><html>Log in</html>", "an HTML page"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer"),
    "XML": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML file"),
    "PDF": (b"%PDF-1.7 ...", "a PDF file"),
}
ENDINGS = ["nii", "nii.gz", "hdr", "mgz", "nrrd", "mha", "dcm", "png", "jpg", "tif", "bmp", "xyz"]


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_rest_of_a_failed_download_is_named(tmp_path: Path, left: str, ending: str) -> None:
    content, words = LEFT[left]
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    for read in (read_scan, read_grid):
        with pytest.raises(InputError, match=words) as caught, collect_warnings():
            read(path)
        assert caught.value.code in ("E_FORMAT", "E_NOT_NIFTI") and str(path) in str(caught.value)


KINDS: dict[str, Callable[[SimpleNamespace, Path], Path]] = {
    "NIfTI": lambda make, folder: make.nifti(folder / "a.nii"),
    "NRRD": lambda make, folder: written(folder / "a.nrrd"),
    "MetaImage": lambda make, folder: written(folder / "a.mha"),
    "PNG": lambda make, folder: written(folder / "a.png"),
    "TIFF": lambda make, folder: written(folder / "a.tif"),
    "DICOM": lambda make, folder: make.series(folder, count=1)[0],
}


def written(path: Path) -> Path:
    voxels = np.random.default_rng(0).integers(0, 255, (6, 7), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["b.png", "b.nii.gz", "b.mha", "b", "b.txt"])
def test_a_wrong_name_does_not_matter(
    make: SimpleNamespace, tmp_path: Path, kind: str, name: str
) -> None:
    path = KINDS[kind](make, tmp_path)
    right = read_scan(path)
    with collect_warnings():
        wrong = read_scan(path.rename(tmp_path / name))
    assert np.array_equal(wrong.array, right.array)
    assert np.array_equal(wrong.affine, right.affine)
