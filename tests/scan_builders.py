"""Scans whose voxels are a linear function of their coordinates, to test array and affine."""

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

from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.images.volume import Volume

GRADIENT = np.array([3.0, -5.0, 7.0])  # per mm, in RAS
LPS = np.array([-1.0, -1.0, 1.0])
Edit = Callable[[Dataset, int], None]
Build = Callable[[SimpleNamespace, Path], Any]


def at(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value at points in mm (RAS), last axis 3."""
    return np.asarray(points @ GRADIENT + 2000)


def voxel_coordinates(shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])


def assert_true(
    volume: Volume, shape: Sequence[int] | None = None, tolerance: float = 0.51
) -> None:
    """Require that every voxel has the value of its coordinates."""
    assert shape is None or sorted(volume.array.shape) == sorted(shape)
    expected = at(voxel_coordinates(volume.array.shape, volume.affine))
    assert np.abs(volume.array - expected).max() <= tolerance


def write_nifti(
    path: Path,
    affine: NDArray[np.float64] | None = None,
    shape: Sequence[int] = (7, 6, 5),
    dtype: Any = np.float32,
) -> Path:
    affine = np.diag([1.5, 2.0, 2.5, 1.0]) if affine is None else affine
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.rint(at(voxel_coordinates(shape, affine))).astype(dtype), affine)
    image.header.set_sform(affine, code=1)
    image.header.set_qform(affine, code=1)
    nib.save(image, path)
    return path


def empty_slice(sop_class: str = MRImageStorage, **tags: Any) -> Dataset:
    """Return an image with identifiers of its own and some tags, as yet without pixels."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def slice_dataset(
    series: str,
    orientation: Sequence[float],
    position: NDArray[np.float64],
    spacing: Sequence[float],
    size: Sequence[int],
    sop_class: str = CTImageStorage,
) -> Dataset:
    """Return one image; position and orientation are in LPS, size is rows and columns."""
    data = empty_slice(
        sop_class,
        SeriesInstanceUID=series,
        StudyInstanceUID=generate_uid(entropy_srcs=["study"]),
        FrameOfReferenceUID=generate_uid(entropy_srcs=["frame"]),
    )
    data.Modality = "CT"
    data.SeriesNumber = 1
    data.SeriesDate = "20200101"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.ImageOrientationPatient = [f"{value:.8f}" for value in orientation]
    data.ImagePositionPatient = [f"{value:.8f}" for value in position]
    data.PixelSpacing = list(spacing)
    data.SliceThickness = 2.0
    data.Rows, data.Columns = size
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = 16
    data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 1
    data.RescaleSlope = 1
    data.RescaleIntercept = 0
    across = np.array(orientation[:3])
    down = np.array(orientation[3:])
    rows, columns = np.mgrid[: size[0], : size[1]][..., None]
    points = position + columns * across * spacing[1] + rows * down * spacing[0]
    data.PixelData = np.rint(at(points * LPS)).astype("<i2").tobytes()
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


def shared_groups(orientation: Sequence[float]) -> Dataset:
    """Return the functional groups of all frames."""
    measures = Dataset()
    measures.PixelSpacing = [1.5, 1.25]
    measures.SliceThickness = 2.5
    measures.SpacingBetweenSlices = 2.5
    plane = Dataset()
    plane.ImageOrientationPatient = list(orientation)
    transform = Dataset()
    transform.RescaleSlope = 1
    transform.RescaleIntercept = 0
    transform.RescaleType = "US"
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [plane]
    shared.PixelValueTransformationSequence = [transform]
    return shared


def frame_groups(number: int, coordinates: Sequence[float]) -> Dataset:
    """Return the functional groups of one frame, counted from 0."""
    position = Dataset()
    position.ImagePositionPatient = list(coordinates)
    content = Dataset()
    content.DimensionIndexValues = [number + 1]
    item = Dataset()
    item.PlanePositionSequence = [position]
    item.FrameContentSequence = [content]
    return item


def enhanced(
    path: Path,
    *,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    count: int = 6,
    edit: Callable[[Dataset], None] = lambda data: None,
) -> Path:
    """Write one enhanced MR object with ``count`` frames; ``edit`` may change it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    origin = np.array([-8.0, 3.0, 12.0])
    frames = [
        slice_dataset("1.2.3.4", orientation, origin + 2.5 * k * normal, (1.5, 1.25), (6, 7))
        for k in range(count)
    ]
    data = slice_dataset(
        generate_uid(), orientation, origin, (1.5, 1.25), (6, 7), EnhancedMRImageStorage
    )
    data.Modality = "MR"
    data.NumberOfFrames = count
    for tag in (
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "PixelSpacing",
        "SliceThickness",
    ):
        del data[tag]
    data.SharedFunctionalGroupsSequence = [shared_groups(frames[0].ImageOrientationPatient)]
    data.PerFrameFunctionalGroupsSequence = [
        frame_groups(k, frame.ImagePositionPatient) for k, frame in enumerate(frames)
    ]
    data.PixelData = b"".join(frame.PixelData for frame in frames)
    edit(data)
    data.save_as(path, enforce_file_format=True)
    return path


def no_image(
    path: Path, modality: str = "SR", sop_class: str = pydicom.uid.BasicTextSRStorage
) -> Path:
    """Write a DICOM object without pixels."""
    data = slice_dataset(
        generate_uid(), (1, 0, 0, 0, 1, 0), np.zeros(3), (1, 1), (1, 1), MRImageStorage
    )
    for tag in ("PixelData", "Rows", "Columns"):
        del data[tag]
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
    data.Modality = modality
    data.save_as(path, enforce_file_format=True)
    return path


def built_cases(row: tuple[Build, int], make: SimpleNamespace, folder: Path) -> list[Case]:
    """Write the scans of a table's row, and find as many as it says."""
    build, count = row
    build(make, folder)
    cases = find_cases(folder, progress=False).cases
    assert len(cases) == count
    return cases


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Return the builders of this module."""
    builders = {
        "nifti": write_nifti,
        "series": series,
        "enhanced": enhanced,
        "no_image": no_image,
        "at": at,
        "coordinates": voxel_coordinates,
        "assert_true": assert_true,
        "slice": slice_dataset,
    }
    return SimpleNamespace(**builders)
