"""Reading of one DICOM series, whose slices must form a regular, straight, complete stack."""

from __future__ import annotations

import math
from collections.abc import MutableMapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from monai_semiseg.errors import (
    DtypeError,
    DuplicateError,
    GapError,
    GeometryError,
    UnsupportedError,
)
from monai_semiseg.images.dicom_frames import frame_headers, frame_transforms
from monai_semiseg.images.dicom_header import PARSING_ERRORS, DicomHeader, values_unquoted
from monai_semiseg.images.dicom_image import image_grid, read_image
from monai_semiseg.images.dicom_kinds import is_single
from monai_semiseg.images.dicom_pixels import modality_values, pixel_error, stored_values
from monai_semiseg.images.dicom_volumes import split_volumes
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.volume import LPS_TO_RAS, Volume, check_affine, check_size, warn

# Tolerance for the dot products of two direction cosines, against orthonormal vectors.
_ORTHONORMAL_TOLERANCE = 0.01
_ROUNDING = 0.011  # mm of rounding error in two positions with two decimals each


def read_series(
    headers: Sequence[DicomHeader],
    parsed: MutableMapping[Path, pydicom.Dataset] | None = None,
    *,
    gap_tolerance: float = 0.05,
    max_tilt: float = 0.5,
) -> Volume:
    """Read a series in spatial order, with the rescale applied to each slice.

    For classic and enhanced objects, a real-world value mapping or a display window beside the
    rescale has no effect (:func:`~monai_semiseg.images.dicom_pixels.modality_values`).

    In slices, MONOCHROME1 concerns display only: voxels keep their rescaled values, with a remark.
    2-D images are read by :func:`~monai_semiseg.images.dicom_image.read_image`.

    Args:
        headers: the files of one volume, in any order.
        parsed: objects that were read with their headers; each is removed when its pixels are used.
        gap_tolerance: largest deviation of a slice distance from the median, as a fraction of it.
        max_tilt: largest angle in degrees between the stack and the slices' normal.

    Raises:
        InputError: One of its subclasses, if the slices do not form such a stack.
    """
    first = headers[0]
    parsed = {} if parsed is None else parsed
    if is_single(first):
        return read_image(first, parsed.pop(first.path, None))
    if first.frames > 1:
        return _read_multiframe(first, parsed.pop(first.path, None))
    ordered, affine = stack(headers, gap_tolerance=gap_tolerance, max_tilt=max_tilt)
    rows, columns = first.size
    check_size((columns, rows, len(ordered)), 4, first.path.parent)
    if first.photometric == "MONOCHROME1":
        warn(first.path, "W_MONOCHROME1", "values are kept as stored, not inverted for display")
    array = np.empty((columns, rows, len(ordered)), dtype=np.float32)
    for k, header in enumerate(ordered):
        array[:, :, k] = _slice(header.path, parsed.pop(header.path, None), (rows, columns)).T
    return Volume(
        array,
        check_affine(affine @ np.eye(4), first.path),
        {"format": "dicom", "modality": first.modality},
    )


def stack(
    headers: Sequence[DicomHeader], *, gap_tolerance: float = 0.05, max_tilt: float = 0.5
) -> tuple[list[DicomHeader], NDArray[np.float64]]:
    """Sort slices along their normal; return them and the RAS affine of (column, row, slice).

    Raises:
        GeometryError: No position or orientation, or a tilted (sheared) stack.
        DuplicateError: Two slices at one position.
        GapError: Uneven slice distances.
    """
    first = headers[0]
    for header in headers:
        if len(header.position) != 3 or len(header.orientation) != 6 or len(header.spacing) != 2:
            raise GeometryError(
                "no ImagePositionPatient, ImageOrientationPatient or PixelSpacing",
                expected="slices with position, orientation and spacing",
                remedy="export the series from the scanner or the archive again",
                path=header.path,
            )
    across, down = _orthonormal(first).T
    normal = np.cross(across, down)
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


def _orthonormal(header: DicomHeader) -> NDArray[np.float64]:
    """Return the row and column directions as the nearest orthonormal vectors, shape (3, 2).

    Raises:
        GeometryError: If they deviate from orthonormal vectors by more than rounding.
    """
    axes = np.array(header.orientation, dtype=np.float64).reshape(2, 3).T
    off = np.abs(axes.T @ axes - np.eye(2))
    if not off.max() <= _ORTHONORMAL_TOLERANCE:
        lengths = " and ".join(f"{length:.3f}" for length in np.linalg.norm(axes, axis=0))
        angle = math.degrees(math.asin(min(1.0, float(off[0, 1]))))
        raise GeometryError(
            f"ImageOrientationPatient: lengths {lengths}, {angle:.2f} degrees off a right angle",
            expected="two unit vectors at a right angle, to 0.005 in length and 0.57 degrees",
            remedy="export the series from the scanner or the archive again",
            path=header.path,
        )
    if off.max() < 1e-9:
        return axes
    u, _, v = np.linalg.svd(axes, full_matrices=False)
    return np.asarray(u @ v)


def _step(
    ordered: Sequence[DicomHeader],
    positions: NDArray[np.float64],
    normal: NDArray[np.float64],
    tolerance: float,
) -> NDArray[np.float64]:
    """Return the vector from one slice to the next, in mm LPS."""
    if len(ordered) == 1:
        thickness = ordered[0].thickness
        return np.asarray(normal * (thickness if thickness > 0 else 1.0))  # a 2-D image has none
    heights = positions @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for index, gap in enumerate(gaps):
        if gap < max(1e-3, 0.01 * usual):
            raise DuplicateError(
                f"lies at the same position as {ordered[index].name}",
                expected="one slice per position",
                remedy="remove the slice that does not belong to the series",
                path=ordered[index + 1].path,
            )
    allowed = max(tolerance * usual, min(_ROUNDING, usual / 4))
    for index, gap in enumerate(gaps):
        if abs(gap - usual) > allowed:
            raise GapError(
                f"{gap:.2f} mm after the slice at {heights[index]:.2f} mm ({ordered[index].name}), "
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


def _slice(
    path: Path, dataset: pydicom.Dataset | None, size: tuple[int, int]
) -> NDArray[np.float32]:
    with values_unquoted():
        try:
            dataset = dataset or pydicom.dcmread(path, force=True)
            pixels = modality_values(stored_values(dataset), dataset)
        except PARSING_ERRORS as error:
            raise pixel_error(dataset, path, error) from error
    if pixels.shape != size:
        raise DtypeError(
            f"pixels of shape {pixels.shape}",
            expected=f"one grey value for each of {size}",
            path=path,
        )
    return pixels


def series_grid(headers: Sequence[DicomHeader]) -> Grid:
    """Return the grid of a series by its headers alone.

    Raises:
        InputError: One of its subclasses, if the slices form no stack.
    """
    first = headers[0]
    if is_single(first):
        return image_grid(first)
    if first.frames > 1:
        with values_unquoted():
            try:
                dataset = pydicom.dcmread(first.path, force=True, stop_before_pixels=True)
                headers = _frames(first, dataset)
            except PARSING_ERRORS as error:
                raise pixel_error(None, first.path, error) from error
    ordered, affine = stack(headers)
    rows, columns = first.size
    return Grid((columns, rows, len(ordered)), check_affine(affine, first.path))


def _frames(header: DicomHeader, dataset: pydicom.Dataset) -> list[DicomHeader]:
    """Return the headers of the frames of an enhanced object, which must be one volume."""
    frames = frame_headers(header, dataset)
    volumes = split_volumes(frames)
    if len(volumes) > 1:
        raise UnsupportedError(
            f"{len(volumes)} volumes of {len(volumes[0])} frames in one object",
            expected="an enhanced image of one volume",
            remedy="export each volume (echo, time point, direction) as a series of its own",
            path=header.path,
        )
    return frames


def _read_multiframe(header: DicomHeader, dataset: pydicom.Dataset | None) -> Volume:
    """Read an enhanced multi-frame image, whose frames have positions as slices do."""
    path = header.path
    with values_unquoted():
        try:
            dataset = dataset or pydicom.dcmread(path, force=True)
            frames = _frames(header, dataset)
        except PARSING_ERRORS as error:
            raise pixel_error(dataset, path, error) from error
        ordered, affine = stack(frames)
        rows, columns = header.size
        check_size((columns, rows, len(ordered)), 4, path)
        try:
            stored = stored_values(dataset).reshape(len(frames), rows, columns)
            transforms = frame_transforms(dataset)
            array = np.empty((columns, rows, len(ordered)), dtype=np.float32)
            for k, frame in enumerate(ordered):
                array[:, :, k] = modality_values(stored[frame.frame], transforms[frame.frame]).T
        except PARSING_ERRORS as error:
            raise pixel_error(dataset, path, error) from error
    return Volume(
        array, check_affine(affine, path), {"format": "dicom", "modality": header.modality}
    )
