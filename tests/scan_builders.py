"""Scans whose every voxel is a linear function of its place in space, so that array and affine check each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from monai_semiseg.images.volume import Volume

GRADIENT = np.array([3.0, -5.0, 7.0])  # per mm, in RAS
LPS = np.array([-1.0, -1.0, 1.0])
Edit = Callable[[Dataset, int], None]


def at(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Value at points in mm (RAS), last axis 3."""
    return np.asarray(points @ GRADIENT + 2000)


def voxel_places(shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])


def assert_true(
    volume: Volume, shape: Sequence[int] | None = None, tolerance: float = 0.51
) -> None:
    """Every voxel has the value of the place where the affine puts it."""
    assert shape is None or sorted(volume.array.shape) == sorted(shape)
    expected = at(voxel_places(volume.array.shape, volume.affine))
    assert np.abs(volume.array - expected).max() <= tolerance


def write_nifti(
    path: Path,
    affine: NDArray[np.float64] | None = None,
    shape: Sequence[int] = (7, 6, 5),
    dtype: Any = np.float32,
) -> Path:
    affine = np.diag([1.5, 2.0, 2.5, 1.0]) if affine is None else affine
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.rint(at(voxel_places(shape, affine))).astype(dtype), affine)
    image.header.set_sform(affine, code=1)
    image.header.set_qform(affine, code=1)
    nib.save(image, path)
    return path


def slice_dataset(
    series: str,
    orientation: Sequence[float],
    position: NDArray[np.float64],
    spacing: Sequence[float],
    size: Sequence[int],
    sop_class: str = CTImageStorage,
) -> Dataset:
    """One image; position, orientation in LPS; size rows, columns."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = sop_class, generate_uid()
    data.file_meta.MediaStorageSOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID = series, generate_uid(entropy_srcs=["study"])
    data.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    data.Modality, data.SeriesNumber, data.SeriesDate = "CT", 1, "20200101"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.ImageOrientationPatient = [f"{value:.8f}" for value in orientation]
    data.ImagePositionPatient = [f"{value:.8f}" for value in position]
    data.PixelSpacing, data.SliceThickness = list(spacing), 2.0
    data.Rows, data.Columns = size
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, 0
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    rows, columns = np.mgrid[: size[0], : size[1]][..., None]
    places = position + columns * across * spacing[1] + rows * down * spacing[0]
    data.PixelData = np.rint(at(places * LPS)).astype("<i2").tobytes()
    return data


def series(
    folder: Path,
    *,
    count: int = 8,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    gap: float = 2.0,
    origin: Sequence[float] = (-10.0, 4.0, 30.0),
    size: Sequence[int] = (6, 7),
    spacing: Sequence[float] = (1.5, 1.25),
    uid: str = "",
    edit: Edit = lambda data, k: None,
    skip: Sequence[int] = (),
    step: Sequence[float] | None = None,
    name: str = "IM{:03}.dcm",
) -> list[Path]:
    """Write a series; ``edit`` may change each slice, ``step`` (LPS, mm) tilts the stack."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    vector = normal * gap if step is None else np.array(step)
    uid = uid or generate_uid()
    order = np.random.default_rng(len(name) + count).permutation(count)
    files = []
    for k in (k for k in range(count) if k not in skip):
        data = slice_dataset(uid, orientation, np.array(origin) + k * vector, spacing, size)
        data.InstanceNumber = k + 1
        edit(data, k)
        files.append(folder / name.format(order[k]))
        data.save_as(files[-1], enforce_file_format=bool(getattr(data, "file_meta", None)))
    return files


def enhanced(
    path: Path,
    *,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    count: int = 6,
    edit: Callable[[Dataset], None] = lambda data: None,
) -> Path:
    """Write one enhanced MR object with ``count`` frames; ``edit`` may change it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    normal, origin = np.cross(orientation[:3], orientation[3:]), np.array([-8.0, 3.0, 12.0])
    frames = [
        slice_dataset("1.2.3.4", orientation, origin + 2.5 * k * normal, (1.5, 1.25), (6, 7))
        for k in range(count)
    ]
    data = slice_dataset(
        generate_uid(), orientation, origin, (1.5, 1.25), (6, 7), EnhancedMRImageStorage
    )
    data.Modality, data.NumberOfFrames = "MR", count
    for tag in (
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "PixelSpacing",
        "SliceThickness",
    ):
        del data[tag]
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = (
        [1.5, 1.25],
        2.5,
        2.5,
    )
    plane.ImageOrientationPatient = list(frames[0].ImageOrientationPatient)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [Dataset()]
    shared.PixelValueTransformationSequence[0].RescaleSlope = 1
    shared.PixelValueTransformationSequence[0].RescaleIntercept = 0
    shared.PixelValueTransformationSequence[0].RescaleType = "US"
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], []
    for k, frame in enumerate(frames):
        item, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = list(frame.ImagePositionPatient)
        content.DimensionIndexValues = [k + 1]
        item.PlanePositionSequence, item.FrameContentSequence = [position], [content]
        data.PerFrameFunctionalGroupsSequence.append(item)
    data.PixelData = b"".join(frame.PixelData for frame in frames)
    edit(data)
    data.save_as(path, enforce_file_format=True)
    return path


def no_image(
    path: Path, modality: str = "SR", sop_class: str = pydicom.uid.BasicTextSRStorage
) -> Path:
    """A DICOM object without pixels."""
    data = slice_dataset(
        generate_uid(), (1, 0, 0, 0, 1, 0), np.zeros(3), (1, 1), (1, 1), MRImageStorage
    )
    for tag in ("PixelData", "Rows", "Columns"):
        del data[tag]
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
    data.Modality = modality
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The builders above."""
    return SimpleNamespace(
        nifti=write_nifti,
        series=series,
        enhanced=enhanced,
        no_image=no_image,
        at=at,
        places=voxel_places,
        assert_true=assert_true,
        slice=slice_dataset,
    )
