"""One way into every reader: what is not there, is not one series, or has a fault."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_grid, read_scan


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
    """Two stacks that differ in nothing that could tell them apart."""

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
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="a PNG picture"):
        read_scan(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("no scan")
    with pytest.raises(InputError, match="no image in a format that is read here"):
        read_scan(tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in a format that is read here"):
        read_scan(tmp_path / "empty")
