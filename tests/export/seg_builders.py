"""A small series and a random mask for DICOM SEG, and where its voxels lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from pydicom.uid import generate_uid

from tests.scan_builders import empty_slice

NAMES = {0: "background", 1: "Anterior", 2: "Posterior"}
CODES = {1: {"value": "5366008", "scheme": "SCT", "meaning": "Hippocampus"}}
TAGS = {
    "Modality": "MR",
    "SeriesNumber": 3,
    "PatientName": "A^B",
    "PatientID": "7",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyDate": "20200101",
    "StudyTime": "120000",
    "StudyID": "1",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "Rows": 6,
    "Columns": 7,
    "PixelSpacing": [1.5, 0.8],
    "SliceThickness": 2.0,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelRepresentation": 0,
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
}
TILTED = [0.8, 0.6, 0.0, -0.36, 0.48, 0.8]


def series(folder: Path, orientation: list[float], missing: str = "") -> list[Path]:
    """Write five slices of 6 rows and 7 columns, files in no order."""
    folder.mkdir(parents=True)
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    shared = {name: generate_uid() for name in uids}
    normal = np.cross(orientation[:3], orientation[3:])
    for k in range(5):
        d = empty_slice(**shared, **TAGS)
        d.InstanceNumber = 5 - k
        d.ImageOrientationPatient = orientation
        d.ImagePositionPatient = [float(v) for v in np.array([-3.0, 4.0, 5.0]) + 2.0 * k * normal]
        d.PixelData = (np.arange(42, dtype="<u2") + k).tobytes()
        if missing:
            delattr(d, missing)
        d.save_as(folder / f"{(k * 3) % 5}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


def random_mask() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 3, (7, 6, 5)).astype(np.uint8)


def lps(affine: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def assert_on(
    path: Path, mask: np.ndarray[Any, Any], affine: np.ndarray[Any, Any], tolerance: float = 0.05
) -> None:
    """Require that the label map has the SEG's label wherever, in mm, the SEG has a voxel.

    The tolerance is in voxels.
    """
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    index = np.indices(volume.array.shape).reshape(3, -1)
    ours = np.linalg.inv(lps(affine)) @ volume.affine @ np.vstack([index, np.ones(index.shape[1])])
    nearest = np.rint(ours[:3]).astype(int)
    assert np.abs(ours[:3] - nearest).max() < tolerance
    assert np.array_equal(mask[tuple(nearest)], volume.array.reshape(-1))
