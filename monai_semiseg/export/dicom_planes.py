"""A label map as planes on the images of a DICOM series, whose geometry is made exact in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.valuerep import DS

from monai_semiseg.errors import UnsupportedError
from monai_semiseg.images.dicom_volume import LPS_TO_RAS

_MOVED = 0.25  # of a slice distance, that a rounded position may be off its plane
_TURNED = 0.02  # that a rounded direction cosine may be off
_SKEWED = 1e-4  # cosine of rows and columns, above which highdicom takes no image


def planes_on(
    sources: Sequence[pydicom.Dataset], mask: NDArray[Any], affine: NDArray[np.float64]
) -> NDArray[Any]:
    """Return the mask's planes in the sources' order, and give the sources the mask's geometry.

    Files hold positions and direction cosines with few decimals: no two slices then have quite one
    distance, and rows and columns no right angle, and readers of the segmentation would take its
    frames for no volume. The scan was read on exact axes nearest to those in the file; the data
    sets, never the files, get these.

    Args:
        sources: single-frame images, or one enhanced image; changed in place.
        mask: ``(column, row, slice)``.
        affine: 4x4, voxel to mm in RAS, of the mask.

    Returns:
        ``(plane, row, column)``.

    Raises:
        UnsupportedError: If the sources do not lie on the mask's planes; says by how many mm.
    """
    lps = LPS_TO_RAS @ affine
    across, down = lps[:3, 0] / np.linalg.norm(lps[:3, 0]), lps[:3, 1] / np.linalg.norm(lps[:3, 1])
    if abs(float(across @ down)) > _SKEWED:
        angle = math.degrees(math.asin(min(1.0, abs(float(across @ down)))))
        raise _refused(f"rows and columns are {angle:.2f} degrees off a right angle", sources)
    holders = _position_holders(sources)
    order = _order(holders, sources, mask.shape[2], lps)
    for holder, k in zip(holders, order, strict=True):
        holder.ImagePositionPatient = _decimal(lps[:3, 3] + k * lps[:3, 2])
    apart = abs(float(np.cross(across, down) @ lps[:3, 2]))
    for source in sources:
        orientation, measures = _plane_holders(source)
        turned = np.array(orientation.ImageOrientationPatient, dtype=float) - [*across, *down]
        if np.abs(turned).max() > _TURNED:
            raise _refused(f"cosines differ by {np.abs(turned).max():.3f}", sources)
        orientation.ImageOrientationPatient = _decimal([*across, *down])
        measures.PixelSpacing = _decimal(np.linalg.norm(lps[:3, [1, 0]], axis=0))
        measures.SpacingBetweenSlices = _decimal([apart])[0]
        if not measures.get("SliceThickness"):
            measures.SliceThickness = measures.SpacingBetweenSlices
    return np.ascontiguousarray(mask.transpose(2, 1, 0)[order])


def _order(
    holders: Sequence[pydicom.Dataset],
    sources: Sequence[pydicom.Dataset],
    count: int,
    lps: NDArray[np.float64],
) -> list[int]:
    """Number of the mask's slice on which each source lies."""
    places = np.array([[float(x) for x in one.ImagePositionPatient] for one in holders])
    step = lps[:3, 2]
    order = np.rint((places - lps[:3, 3]) @ step / (step @ step)).astype(int)
    off = np.linalg.norm(places - lps[:3, 3] - np.outer(order, step), axis=1)
    if off.max() > _MOVED * np.linalg.norm(step):
        found = f"a slice of the series lies {off.max():.2f} mm off the mask's slices"
        raise _refused(found, sources)
    if sorted(order) != list(range(count)):
        found = f"{len(holders)} slices in the series, {count} in the mask, not one to one"
        raise _refused(found, sources)
    return [int(k) for k in order]


def _position_holders(sources: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """The data sets that hold the position of each plane."""
    frames = sources[0].get("PerFrameFunctionalGroupsSequence")
    return [item.PlanePositionSequence[0] for item in frames] if frames else list(sources)


def _plane_holders(source: pydicom.Dataset) -> tuple[pydicom.Dataset, pydicom.Dataset]:
    """The data sets that hold direction and size of a source's planes."""
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
        f"no DICOM SEG can lie on this series: {found}",
        expected="a mask on the slices of its series",
        remedy="use the NIfTI mask",
        path=getattr(sources[0], "filename", None),
    )
