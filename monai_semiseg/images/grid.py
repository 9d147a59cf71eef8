"""Voxel grids in space, and the rule that decides if a label lies on an image's grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from numpy.typing import NDArray

from monai_semiseg.errors import GeometryError

TOLERANCE = 1e-3  # of a voxel, at every corner
Unit = Literal["mm", "px"]


def unit_of(meta: Mapping[str, Any]) -> Unit:
    """Return the unit of lengths that metadata of an image or a plan say; mm if none."""
    return "px" if meta.get("unit") == "px" else "mm"


class Grid(NamedTuple):
    """Hold the positions of the voxels of an array.

    Attributes:
        shape: voxels along i, j, k.
        affine: 4x4, voxel index to mm in RAS; or to the pixels of the screen.
        unit: unit of lengths: ``mm``, or ``px`` if the file says no pixel size.
        partial: True for a label that may cover a part of the image; the rest is background. A
            DICOM SEG often holds the slices with something in them alone.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    unit: Unit = "mm"
    partial: bool = False


def axes_onto(label: Grid, image: Grid, path: str | Path | None = None) -> NDArray[np.float64]:
    """Return the axis order and flips that bring a label's voxels onto an image's grid.

    The two hold the same voxels when their axes differ in order and direction alone. The label is
    never resampled, because that would change the annotation. If only one of the two has a pixel
    size, they are compared pixel by pixel, as a viewer shows both.

    Args:
        label: grid of the label.
        image: grid of the image.
        path: path of the label, for the error.

    Returns:
        Orientation as :func:`nibabel.orientations.apply_orientation` takes it, shape ``(3, 2)``.

    Raises:
        GeometryError: If a corner is more than :data:`TOLERANCE` voxels away from the image's, or
            the sizes differ.
    """
    return _placed(label, image, path)[0]


def _placed(
    label: Grid, image: Grid, path: str | Path | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the orientation of :func:`axes_onto`, and the image's voxel that the label begins at.

    Raises:
        GeometryError: As :func:`axes_onto`.
    """
    if label.unit != image.unit:
        label, image = _in_pixels(label), _in_pixels(image)
    axes, turned = _turned(label, image)
    part, start = _covered(turned, image) if label.partial else (image, np.zeros(3, np.int64))
    apart = corners(turned) - corners(part)
    voxels = np.abs(apart @ np.linalg.inv(image.affine)[:3, :3].T).max()
    if turned.shape == tuple(part.shape) and voxels <= TOLERANCE:
        return axes, start
    if image.unit == "px" and turned.shape != tuple(part.shape):
        raise _other_size(turned.shape, image.shape, path)
    distance = float(np.linalg.norm(apart, axis=1).max())
    raise GeometryError(
        f"the label lies up to {distance:.3g} {image.unit} off the image (corner to corner)"
        + _other_voxels(turned, image),
        expected="the image's voxels, in any order and direction of the axes, "
        f"to {TOLERANCE:g} of a voxel",
        remedy="correct the wrong header, or resample the label onto the image "
        "with nearest neighbour",
        path=path,
    )


def _other_size(
    label: Sequence[int], image: Sequence[int], path: str | Path | None
) -> GeometryError:
    """Return the error for a label and an image of other pixels, where no file says a place."""
    sizes = [" x ".join(str(side) for side in shape if side > 1) for shape in (label, image)]
    turned = sorted(label) == sorted(image)
    return GeometryError(
        f"the label has {sizes[0]} pixels, the image {sizes[1]}"
        + "; one of them is turned" * turned,
        expected="a label of the image's size",
        remedy="turn one of them by 90 degrees, in the right direction"
        if turned
        else "save the label in the image's size, without smoothing (nearest neighbour)",
        path=path,
    )


def onto_grid(
    voxels: NDArray[Any], label: Grid, image: Grid, path: str | Path | None = None
) -> NDArray[Any]:
    """Return a label's voxels in the order of an image's axes.

    Args:
        voxels: label values ``(i, j, k, ...)``; axes beyond the third are kept.
        label: grid of the label.
        image: grid of the image.
        path: path of the label, for the error.

    Raises:
        GeometryError: As :func:`axes_onto`.
    """
    axes, start = _placed(label, image, path)
    ordered = nib.orientations.apply_orientation(voxels, axes)
    if ordered.shape[:3] != tuple(image.shape):
        sides = zip(start, ordered.shape[:3], image.shape, strict=True)
        margins = [(int(at), int(whole - at - part)) for at, part, whole in sides]
        ordered = np.pad(ordered, [*margins, *[(0, 0)] * (ordered.ndim - 3)])
    return np.ascontiguousarray(ordered)


def corner_distance(grid: Grid, other: Grid) -> float:
    """Return the largest distance between corners of two grids, whatever the order of their axes.

    Args:
        grid: one grid.
        other: the other one, in the same unit of length, which is that of the result.
    """
    apart = corners(_turned(grid, other)[1]) - corners(other)
    return float(np.linalg.norm(apart, axis=1).max())


def _covered(label: Grid, image: Grid) -> tuple[Grid, NDArray[np.int64]]:
    """Return the part of an image that a label in its order covers, and its first voxel."""
    start = np.rint(apply_affine(np.linalg.inv(image.affine), label.affine[:3, 3])).astype(np.int64)
    if (start < 0).any() or (start + label.shape > image.shape).any():
        return image, start
    affine = image.affine @ nib.affines.from_matvec(np.eye(3), start)
    return Grid(label.shape, affine, image.unit), start


def _turned(label: Grid, image: Grid) -> tuple[NDArray[np.float64], Grid]:
    """Return the orientation that brings a label's axes into an image's order, and the result."""
    axes = nib.orientations.io_orientation(np.linalg.inv(image.affine) @ label.affine)
    shape = tuple(label.shape[axis] for axis in np.argsort(axes[:, 0]))
    affine = label.affine @ nib.orientations.inv_ornt_aff(axes, label.shape)
    return np.asarray(axes, dtype=np.float64), Grid(shape, affine, label.unit)


def in_ras_order(voxels: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Return a view of voxels whose axes run right, anterior, superior as nearly as possible."""
    axes = nib.orientations.io_orientation(affine)
    return np.asarray(nib.orientations.apply_orientation(voxels, axes))


def corners(grid: Grid) -> NDArray[np.float64]:
    """Return the centres of the eight corner voxels in the grid's unit, ``(8, 3)``."""
    index = np.array(list(itertools.product(*((0, size - 1) for size in grid.shape))))
    return np.asarray(apply_affine(grid.affine, index))


def _in_pixels(grid: Grid) -> Grid:
    """Return a grid in pixels; a grid that lies in space counts as shown in the file's order."""
    if grid.unit == "px":
        return grid
    axes = grid.affine[:3, :3] / voxel_sizes(grid.affine)
    on_screen = np.allclose(corners(grid).min(axis=0), 0.0, atol=1e-6)
    affine = np.eye(4)
    if on_screen and np.allclose(np.abs(axes), np.rint(np.abs(axes)), atol=1e-6):
        affine[:3, :3] = np.rint(axes)
        affine[:3, 3] = -corners(Grid(grid.shape, affine)).min(axis=0)
    return Grid(grid.shape, affine, "px")


def _other_voxels(label: Grid, image: Grid) -> str:
    """Describe the shape and voxel size of both grids if they differ; empty if not."""
    texts = [
        f"{'x'.join(map(str, grid.shape))} voxels of "
        + " x ".join(f"{size:.4g}" for size in voxel_sizes(grid.affine))
        + f" {grid.unit}"
        for grid in (label, image)
    ]
    return "" if texts[0] == texts[1] else f": {texts[0]}, the image has {texts[1]}"
