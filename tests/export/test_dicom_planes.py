"""Frames of a DICOM SEG lie on the slices of its source, or it is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from monai_semiseg.errors import UnsupportedError
from monai_semiseg.export.dicom_seg import write_segmentation
from monai_semiseg.images.scan import read_scan
from tests.export.seg_builders import NAMES, assert_on, random_mask, series


def rounded(data: pydicom.Dataset, k: int) -> None:
    """Write positions with two decimals, cosines with three, and jitter in the last of them."""
    data.ImagePositionPatient = [f"{float(x):.2f}" for x in data.ImagePositionPatient]
    cosines = np.array([float(x) for x in data.ImageOrientationPatient]) + 1e-4 * (k % 2)
    data.ImageOrientationPatient = [f"{x:.3f}" for x in cosines]


# Made exact below.
OBLIQUE = (0.91, 0.38, -0.167)


def oblique() -> list[float]:
    across = np.array(OBLIQUE) / np.linalg.norm(OBLIQUE)
    down = np.cross(across, [0.2, -0.3, 0.9])
    return [*across, *(down / np.linalg.norm(down))]


@pytest.mark.parametrize("gap", [0.6, 3.0])
def test_a_rounded_oblique_series(make: SimpleNamespace, tmp_path: Path, gap: float) -> None:
    files = make.series(tmp_path / "in", orientation=oblique(), gap=gap, count=12, edit=rounded)
    mask = np.tile(random_mask(), (1, 1, 3))[:, :, :12]
    affine = read_scan(files).affine
    path = write_segmentation(mask, affine, files, tmp_path / "seg.dcm", NAMES)
    assert_on(path, mask, affine)
    assert_frames_on_sources(path, files)


def assert_frames_on_sources(path: Path, files: list[Path]) -> None:
    """Require that each frame names a slice and lies where it does."""
    for frame in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        source = next(
            data
            for data in map(pydicom.dcmread, files)
            if data.SOPInstanceUID == item.ReferencedSOPInstanceUID
        )
        assert np.abs(np.array(source.ImagePositionPatient, dtype=float) - place).max() < 0.02


def test_a_slightly_tilted_series(make: SimpleNamespace, tmp_path: Path) -> None:
    """Check that 0.4 degrees are read as they are, and the frames lie where the slices do."""
    files = make.series(tmp_path / "in", step=(0.0, 0.014, 2.0))
    mask = np.tile(random_mask(), (1, 1, 2))[:, :, :8]
    affine = read_scan(files).affine
    path = write_segmentation(mask, affine, files, tmp_path / "seg.dcm", NAMES)
    assert_frames_on_sources(path, files)


@pytest.mark.parametrize("places", [2, 8])
def test_an_enhanced_source(make: SimpleNamespace, tmp_path: Path, places: int) -> None:
    def written(data: pydicom.Dataset) -> None:
        plane = data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        plane.ImageOrientationPatient = [
            f"{float(x):.{places + 1}f}" for x in plane.ImageOrientationPatient
        ]
        for item in data.PerFrameFunctionalGroupsSequence:
            plane = item.PlanePositionSequence[0]
            plane.ImagePositionPatient = [
                f"{float(x):.{places}f}" for x in plane.ImagePositionPatient
            ]

    file = make.enhanced(tmp_path / "multi.dcm", orientation=oblique(), edit=written)
    mask = np.tile(random_mask(), (1, 1, 2))[:, :, :6]
    affine = read_scan(file).affine
    path = write_segmentation(mask, affine, [file], tmp_path / "seg.dcm", NAMES)
    assert_on(path, mask, affine)


def test_a_mask_beside_its_series_is_refused_by_how_much(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    affine = read_scan(files).affine
    affine[1, 3] += 2.5
    with pytest.raises(UnsupportedError, match=r"2\.50 mm off the mask's slices"):
        write_segmentation(random_mask(), affine, files, tmp_path / "seg.dcm", NAMES)


def test_a_mask_that_faces_elsewhere_is_refused_by_how_much(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    affine = read_scan(files).affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
    with pytest.raises(UnsupportedError, match=r"cosines differ by 2\.000"):
        write_segmentation(random_mask(), affine, files, tmp_path / "seg.dcm", NAMES)
