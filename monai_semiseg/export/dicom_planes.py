"""Planes of a label map on the images of a DICOM series, whose geometry is made exact in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.valuerep import DS

from monai_semiseg.errors import UnsupportedError
from monai_semiseg.images.volume import LPS_TO_RAS

_LARGEST_SHIFT = 0.25  # of a slice distance, between a rounded position and its plane
_LARGEST_TURN = 0.02  # difference of a rounded direction cosine
_LARGEST_SKEW = 1e-4  # cosine of rows and columns; highdicom refuses images above it


def planes_on(
    sources: Sequence[pydicom.Dataset], mask: NDArray[Any], affine: NDArray[np.float64]
) -> NDArray[Any]:
    """Return the mask's planes in the sources' order, and give the sources the mask's geometry.

    Files hold positions and direction cosines with few decimals: distances of slices then differ a
    little, and rows and columns are not quite orthogonal, so that readers of the segmentation would
    not accept its frames as a volume. The scan was read on exact axes nearest to those in the file;
    the data sets get these, the files are not changed.

    Args:
        sources: single-frame images, or one enhanced image; changed in place.
        mask: ``(column, row, slice)``.
        affine: 4x4, voxel to mm in RAS, of the mask.

    Returns:
        ``(plane, row, column)``.

    Raises:
        UnsupportedError: If the sources do not lie on the mask's planes; it holds the distance, mm.
    """
    lps = LPS_TO_RAS @ affine
    across = lps[:3, 0] / np.linalg.norm(lps[:3, 0])
    down = lps[:3, 1] / np.linalg.norm(lps[:3, 1])
    skew = abs(float(across @ down))
    if skew > _LARGEST_SKEW:
        angle = math.degrees(math.asin(min(1.0, skew)))
        raise _refused(f"rows and columns are {angle:.2f} degrees off a right angle", sources)
    holders = _position_holders(sources)
    order = _order(holders, sources, mask.shape[2], lps)
    for holder, k in zip(holders, order, strict=True):
        holder.ImagePositionPatient = _decimal(lps[:3, 3] + k * lps[:3, 2])
    _set_planes(sources, lps, across, down)
    return np.ascontiguousarray(mask.transpose(2, 1, 0)[order])


def _set_planes(
    sources: Sequence[pydicom.Dataset],
    lps: NDArray[np.float64],
    across: NDArray[np.float64],
    down: NDArray[np.float64],
) -> None:
    """Write direction and size of the mask's planes into the sources."""
    cosines = np.concatenate([across, down])
    spacing = np.linalg.norm(lps[:3, [1, 0]], axis=0)
    between_slices = abs(float(np.cross(across, down) @ lps[:3, 2]))
    for source in sources:
        orientation, measures = _plane_holders(source)
        turn = np.abs(np.array(orientation.ImageOrientationPatient, dtype=float) - cosines).max()
        if turn > _LARGEST_TURN:
            raise _refused(f"cosines differ by {turn:.3f}", sources)
        orientation.ImageOrientationPatient = _decimal(cosines)
        measures.PixelSpacing = _decimal(spacing)
        measures.SpacingBetweenSlices = _decimal([between_slices])[0]
        if not measures.get("SliceThickness"):
            measures.SliceThickness = measures.SpacingBetweenSlices


def _order(
    holders: Sequence[pydicom.Dataset],
    sources: Sequence[pydicom.Dataset],
    count: int,
    lps: NDArray[np.float64],
) -> list[int]:
    """Return the number of the mask's slice for each source."""
    positions = np.array([list(map(float, one.ImagePositionPatient)) for one in holders])
    step = lps[:3, 2]
    order = np.rint((positions - lps[:3, 3]) @ step / (step @ step)).astype(int)
    distances = np.linalg.norm(positions - lps[:3, 3] - np.outer(order, step), axis=1)
    if distances.max() > _LARGEST_SHIFT * np.linalg.norm(step):
        found = f"a slice of the series lies {distances.max():.2f} mm off the mask's slices"
        raise _refused(found, sources)
    if sorted(order) != list(range(count)):
        found = f"{len(holders)} slices in the series, {count} in the mask, not one to one"
        raise _refused(found, sources)
    return [int(k) for k in order]


def _position_holders(sources: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """Return the data sets that hold the position of each plane."""
    frames = sources[0].get("PerFrameFunctionalGroupsSequence")
    return [item.PlanePositionSequence[0] for item in frames] if frames else list(sources)


def _plane_holders(source: pydicom.Dataset) -> tuple[pydicom.Dataset, pydicom.Dataset]:
    """Return the data sets that hold direction and size of a source's planes."""
    if not source.get("PerFrameFunctionalGroupsSequence"):
        return source, source
    shared = source.SharedFunctionalGroupsSequence[0]
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if name not in shared:  # one for each frame, and all alike: the scan was read as a volume
            shared[name] = source.PerFrameFunctionalGroupsSequence[0][name]
    return shared.PlaneOrientationSequence[0], shared.PixelMeasuresSequence[0]


def _decimal(values: Sequence[float] | NDArray[np.float64]) -> list[Any]:
    return [DS(float(value), auto_format=True) for value in values]


def _refused(found: str, sources: Sequence[pydicom.Dataset]) -> UnsupportedError:
    return UnsupportedError(
        f"no DICOM SEG can be written for this series: {found}",
        expected="a mask on the slices of its series",
        remedy="use the NIfTI mask",
        path=getattr(sources[0], "filename", None),
    )
