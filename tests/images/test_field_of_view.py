"""Lengths are mm, whatever unit a file names; a size that no scan has is refused at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_semiseg.errors import GeometryError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import ScanWarning, collect_warnings


def nifti(path: Path, size: float, unit: str, shape: tuple[int, ...] = (7, 6, 5)) -> Path:
    """A scan with voxels of ``size`` units."""
    array = np.random.default_rng(0).random(shape).astype(np.float32)
    image = nib.Nifti1Image(array, np.diag([size, size, 2 * size, 1.0]))
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    ("unit", "factor", "words"),
    [
        ("micron", 1000.0, "lengths are in micrometres"),
        ("meter", 0.001, "lengths are in metres"),
        ("mm", 1.0, ""),
        ("unknown", 1.0, ""),
    ],
)
def test_the_unit_of_a_nifti_file(tmp_path: Path, unit: str, factor: float, words: str) -> None:
    path = nifti(tmp_path / "scan.nii.gz", 1.5 * factor, unit)
    with collect_warnings() as notes:
        scan = read_scan(path)
    assert np.allclose(scan.spacing, (1.5, 1.5, 3.0))
    assert [words in note for note in notes] == [True] * bool(words)


def itk(path: Path, size: float) -> Path:
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((5, 6, 7)).astype(np.float32))
    image.SetSpacing((size, size, size))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("kind", ["nifti", "unit", "itk", "dicom", "enhanced"])
@pytest.mark.parametrize("size", [1000.0, 0.01], ids=["huge", "tiny"])
def test_an_absurd_size_is_refused_in_every_format(
    make: SimpleNamespace, tmp_path: Path, kind: str, size: float
) -> None:
    def spaced(data: Any, k: int = 0) -> None:
        measures = (
            data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
            if kind == "enhanced"
            else data
        )
        measures.PixelSpacing = [size, size]

    if kind == "nifti":
        source = nifti(tmp_path / "scan.nii", size, "mm")
    elif kind == "unit":  # sound numbers, called by a wrong unit
        source = nifti(tmp_path / "scan.nii", 1.0, "meter" if size > 1 else "micron")
    elif kind == "itk":
        source = itk(tmp_path / "scan.mha", size)
    elif kind == "dicom":
        source = make.series(tmp_path / "scan", edit=spaced)[0].parent
    else:
        source = make.enhanced(tmp_path / "multi.dcm", edit=spaced)
    with pytest.raises(GeometryError, match="field of view of") as caught, collect_warnings():
        read_scan(source)
    assert str(source) in str(caught.value) and "1 mm to 3 m" in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_one_slice_may_be_thin(make: SimpleNamespace, tmp_path: Path) -> None:
    def thin(data: Any, k: int) -> None:
        data.SliceThickness = 0.4

    scan = read_scan(make.series(tmp_path, count=1, edit=thin))
    assert scan.spacing[2] == pytest.approx(0.4)


def test_the_remark_names_the_file(tmp_path: Path) -> None:
    path = nifti(tmp_path / "scan.nii.gz", 1500.0, "micron")
    with pytest.warns(ScanWarning, match=r"W_UNITS .*scan\.nii\.gz"):
        read_scan(path)
