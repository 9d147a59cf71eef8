"""A DICOM series -> one volume, refused unless its slices form a regular, straight, complete stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from monai_semiseg.errors import (
    CodecError,
    DicomError,
    DimensionError,
    DtypeError,
    DuplicateError,
    GapError,
    GeometryError,
    InputError,
    TruncatedError,
    UnsupportedError,
)
from monai_semiseg.images.dicom_header import PARSING_ERRORS, DicomHeader, values_unquoted
from monai_semiseg.images.volume import Volume, check_affine, check_size, warn

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_CODEC_PACKAGES = {
    "1.2.840.10008.1.2.4.5": "pylibjpeg pylibjpeg-libjpeg",  # JPEG 50, 51, 57
    "1.2.840.10008.1.2.4.70": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.20": "pylibjpeg pylibjpeg-openjpeg",  # high-throughput JPEG 2000
    "1.2.840.10008.1.2.4.8": "pyjpegls",
    "1.2.840.10008.1.2.4.9": "pylibjpeg pylibjpeg-openjpeg",
}


def read_series(
    headers: Sequence[DicomHeader], *, gap_tolerance: float = 0.05, max_tilt: float = 0.5
) -> Volume:
    """Read a series in spatial order, with the modality's rescale applied slice by slice.

    MONOCHROME1 concerns display only: voxels keep their rescaled values, and a warning says so.

    Args:
        headers: the files of one volume, in any order.
        gap_tolerance: how far one slice distance may be from the median, as a share of it.
        max_tilt: degrees between the stack and the slices' normal that are still read as straight.

    Raises:
        InputError: One of its kinds; never a volume with invented or shifted slices.
    """
    first = headers[0]
    if first.frames > 1:
        return _read_multiframe(first.path)
    ordered, affine = stack(headers, gap_tolerance=gap_tolerance, max_tilt=max_tilt)
    rows, columns = first.size
    check_size((columns, rows, len(ordered)), 4, first.path.parent)
    if first.photometric == "MONOCHROME1":
        warn(first.path, "W_MONOCHROME1", "values are kept as stored, not inverted for display")
    array = np.empty((columns, rows, len(ordered)), dtype=np.float32)
    for k, header in enumerate(ordered):
        array[:, :, k] = _slice(header.path, (rows, columns)).T
    return Volume(
        array,
        check_affine(affine @ np.eye(4), first.path),
        {"format": "dicom", "modality": first.modality},
    )


def stack(
    headers: Sequence[DicomHeader], *, gap_tolerance: float = 0.05, max_tilt: float = 0.5
) -> tuple[list[DicomHeader], NDArray[np.float64]]:
    """Sort slices along their normal and return them with the RAS affine of voxel ``(column, row, slice)``.

    Raises:
        GeometryError: No position or orientation, or a tilted (sheared) stack.
        DuplicateError: Two slices at one place.
        GapError: Uneven slice distances.
    """
    first = headers[0]
    for header in headers:
        if len(header.position) != 3 or len(header.orientation) != 6 or len(header.spacing) != 2:
            raise GeometryError(
                "no ImagePositionPatient, ImageOrientationPatient or PixelSpacing",
                expected="slices that say where they lie",
                remedy="export the series from the scanner or the archive again",
                path=header.path,
            )
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(across, down)
    if abs(np.linalg.norm(normal) - 1) > 1e-2 or abs(across @ down) > 1e-2:
        raise GeometryError(
            "ImageOrientationPatient is not a right angle",
            expected="two unit vectors at 90 degrees",
            path=first.path,
        )
    ordered = sorted(headers, key=lambda header: float(np.dot(header.position, normal)))
    positions = np.array([header.position for header in ordered])
    step = _step(ordered, positions, normal, gap_tolerance)
    _check_tilt(step, positions, normal, max_tilt, first.path)
    affine = np.eye(4)
    affine[:3, 0] = across * first.spacing[1]
    affine[:3, 1] = down * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return ordered, LPS_TO_RAS @ affine


def _step(
    ordered: Sequence[DicomHeader],
    positions: NDArray[np.float64],
    normal: NDArray[np.float64],
    tolerance: float,
) -> NDArray[np.float64]:
    """The vector from one slice to the next, in mm LPS."""
    if len(ordered) == 1:
        if ordered[0].thickness <= 0:
            raise GeometryError(
                "a single slice without SliceThickness",
                expected="a known voxel size",
                path=ordered[0].path,
            )
        return np.asarray(normal * ordered[0].thickness)
    heights = positions @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for index, gap in enumerate(gaps):
        if gap < max(1e-3, 0.01 * usual):
            raise DuplicateError(
                f"lies at the same place as {ordered[index].path.name}",
                expected="one slice per place",
                remedy="remove the slice that does not belong to the series",
                path=ordered[index + 1].path,
            )
    for index, gap in enumerate(gaps):
        if abs(gap - usual) > tolerance * usual:
            raise GapError(
                f"{gap:.2f} mm after the slice at {heights[index]:.2f} mm ({ordered[index].path.name}), "
                f"elsewhere {usual:.2f} mm",
                expected="even slice distances: a slice is missing or misplaced",
                remedy="export the whole series again",
                path=ordered[index].path.parent,
            )
    return np.asarray((positions[-1] - positions[0]) / (len(ordered) - 1))


def _check_tilt(
    step: NDArray[np.float64],
    positions: NDArray[np.float64],
    normal: NDArray[np.float64],
    max_tilt: float,
    path: Path,
) -> None:
    tilt = math.degrees(
        math.acos(min(1.0, abs(float(step @ normal)) / float(np.linalg.norm(step))))
    )
    if tilt > max_tilt:
        raise GeometryError(
            f"slices are stacked {tilt:.1f} degrees off their normal (gantry tilt)",
            expected=f"a straight stack, at most {max_tilt} degrees",
            remedy="resample the series to a straight grid first (for example with dcm2niix)",
            path=path.parent,
        )
    drift = positions - positions[0] - np.outer(np.arange(len(positions)), step)
    if np.abs(drift).max() > 0.05 * float(np.linalg.norm(step)) + 1e-2:
        raise GeometryError(
            "slices are shifted against each other",
            expected="positions on one straight line",
            remedy="export the whole series again",
            path=path.parent,
        )


def _slice(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    with values_unquoted():
        try:
            dataset = pydicom.dcmread(path, force=True)
            pixels = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
        except PARSING_ERRORS as error:
            raise _pixel_error(path, error) from error
    if pixels.shape != size:
        raise DtypeError(
            f"pixels of shape {pixels.shape}",
            expected=f"one grey value for each of {size}",
            path=path,
        )
    return np.asarray(pixels, dtype=np.float32)


def _pixel_error(path: Path, error: Exception) -> InputError:
    """Tell a missing decoder from damaged pixels; pydicom's own text is not repeated, it may quote the dataset."""
    try:
        syntax = str(
            pydicom.dcmread(path, stop_before_pixels=True, force=True).file_meta.TransferSyntaxUID
        )
    except PARSING_ERRORS:
        syntax = ""
    package = next(
        (name for prefix, name in _CODEC_PACKAGES.items() if syntax.startswith(prefix)), ""
    )
    if package and isinstance(error, (RuntimeError, NotImplementedError)):
        return CodecError(
            f"pixels are compressed ({pydicom.uid.UID(syntax).name})",
            expected="an installed decoder",
            remedy=f"pip install {package}",
            path=path,
        )
    return TruncatedError(
        "the pixel data are missing, cut off or damaged",
        expected="as many pixels as Rows x Columns",
        remedy="export or copy the series again",
        path=path,
    )


def _read_multiframe(path: Path) -> Volume:
    """Read an enhanced multi-frame image through highdicom, which checks the frames' geometry."""
    import highdicom

    with values_unquoted():
        try:
            image = highdicom.imread(path)
            volume = image.get_volume(dtype=np.float32, apply_presentation_lut=False)
        except PARSING_ERRORS as error:
            raise UnsupportedError(
                "a multi-frame image whose frames are not one regular volume",
                expected="an enhanced CT or MR image of one volume",
                remedy="export the series as single-frame images",
                path=path,
            ) from error
    array: NDArray[Any] = np.asarray(volume.array)
    if array.ndim != 3:
        raise DimensionError(f"shape {array.shape}", expected="one 3-D volume", path=path)
    # highdicom orders (slice, row, column); ours is (column, row, slice), as ITK and NIfTI
    # converters have it.
    affine = LPS_TO_RAS @ volume.affine[:, [2, 1, 0, 3]]
    modality = str(getattr(image, "Modality", ""))
    return Volume(
        np.ascontiguousarray(array.transpose(2, 1, 0)),
        check_affine(affine, path),
        {"format": "dicom", "modality": modality},
    )


def require_one(series: Sequence[object], path: Path) -> None:
    """Refuse a folder that holds no series, or several.

    Raises:
        DicomError: Unless there is exactly one.
    """
    if len(series) != 1:
        raise DicomError(
            f"{len(series)} DICOM series in one folder",
            expected="one series, or an explicit list of its files",
            remedy="let monai-semiseg list the series (check, predict), or sort them into folders",
            path=path,
        )
