"""Planes of a scan in radiological convention, whatever the order and direction of its voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from monai_semiseg.images.volume import spatial_dims_of


@dataclass(frozen=True)
class View:
    """A plane and its directions.

    Attributes:
        name: of the plane.
        axis: axis that is cut: 0 right, 1 anterior, 2 superior.
        left: direction in the patient at the picture's left edge.
        right: at the right edge.
        top: at the top edge.
        bottom: at the bottom edge.
        ahead: direction in which mm grow along the axis that is cut.
        behind: the opposite direction.
        flipped: the axes lead left and up on the picture; they lead right and down on photographs.
    """

    name: str
    axis: int
    left: str
    right: str
    top: str
    bottom: str
    ahead: str
    behind: str
    flipped: bool = True


# The patient looks at the reader, or lies before the reader's feet: right is left on the picture.
VIEWS = (
    View("Axial", 2, "R", "L", "A", "P", "S", "I"),
    View("Coronal", 1, "R", "L", "S", "I", "A", "P"),
    View("Sagittal", 0, "A", "P", "S", "I", "R", "L"),
)

AS_TAKEN = View("", 2, "", "", "", "", "", "", flipped=False)  # a photograph


def is_picture(meta: Mapping[str, Any]) -> bool:
    """Return True for images with rows and columns of pixels, and no axes of a patient."""
    return meta.get("format") == "picture" or meta.get("in_patient") is False


def views_of(shape: Sequence[int], is_picture: bool = False) -> tuple[View, ...]:
    """Return the three planes of a scan; of one slice the plane that it is.

    Args:
        shape: of a volume that :func:`nearest_ras` has turned.
        is_picture: the image has no patient's axes: it is shown as it was taken.
    """
    if is_picture:
        return (AS_TAKEN,)
    if spatial_dims_of(shape) == 3:
        return VIEWS
    across = len(shape) - 1 - int(np.argmin(shape[::-1]))
    return tuple(view for view in VIEWS if view.axis == across)


def nearest_ras(
    volumes: Sequence[NDArray[Any] | None], affine: NDArray[np.float64]
) -> tuple[list[NDArray[Any] | None], NDArray[np.float64]]:
    """Turn volumes of one grid so that their axes lead most nearly right, anterior and superior.

    Axes are permuted and flipped; no voxel is computed.

    Args:
        volumes: shape ``(i, j, k)``; None stays None.
        affine: 4x4, voxel to mm in RAS.

    Returns:
        Views of the volumes, and their affine.
    """
    turn = io_orientation(affine)
    shape = next(volume.shape for volume in volumes if volume is not None)
    turned = [None if volume is None else apply_orientation(volume, turn) for volume in volumes]
    return turned, np.asarray(affine @ inv_ornt_aff(turn, shape))


def plane(volume: NDArray[Any], view: View, position: int) -> NDArray[Any]:
    """Cut a volume of RAS axes; rows from the picture's top, columns from its left.

    Of a photograph the axes lead right and down: see :data:`AS_TAKEN`.
    """
    step = -1 if view.flipped else 1
    cut: list[slice | int] = [slice(None)] * 3
    cut[view.axis] = position  # numpy.take would copy a volume that is not in C's order
    return np.asarray(volume[tuple(cut)].T[::step, ::step])


def spacing_of(view: View, affine: NDArray[np.float64]) -> tuple[float, float]:
    """Return the height and width of a plane's pixels, mm."""
    across, up = (axis for axis in range(3) if axis != view.axis)
    sizes = voxel_sizes(affine)
    return float(sizes[up]), float(sizes[across])


def drawn_size(
    shape: Sequence[int], view: View, affine: NDArray[np.float64], longer: int
) -> tuple[int, int]:
    """Return the width and height at which a plane is drawn, in proportion to mm.

    Args:
        shape: rows and columns of the plane.
        view: the plane.
        affine: of the volume that it is cut from.
        longer: pixels of the longer side.
    """
    height, width = (count * mm for count, mm in zip(shape, spacing_of(view, affine), strict=True))
    scale = longer / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def caption(view: View, point: NDArray[np.float64], affine: NDArray[np.float64]) -> str:
    """Return a plane's name, its position, and its angle to the patient's axes.

    Args:
        view: the plane.
        point: intersection of the planes, mm in RAS.
        affine: of the turned volume.
    """
    here = round(float(point[view.axis]), 1) + 0.0
    where = f"{view.name}  {view.ahead if here >= 0 else view.behind} {abs(here):.1f} mm"
    axes = affine[:3, :3] / voxel_sizes(affine)
    # The cosine is above 1 by rounding where nibabel.affines.obliquity gives NaN.
    angle = float(np.degrees(np.arccos(min(1.0, np.abs(axes).max(axis=0).min()))))
    return where if angle < 1 else f"{where}, oblique {angle:.0f}°"
