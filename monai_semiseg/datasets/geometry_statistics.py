"""Field of view and voxel size of scans, and their differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_semiseg.images.volume import Volume


def in_ras(values: Sequence[float], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reorder values of an array's axes to right, anterior, superior."""
    axes = nib.orientations.io_orientation(affine)[:, 0].astype(int)
    ordered = np.empty(3)
    ordered[axes] = values
    return ordered


def size_in_ras(shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return field of view and voxel size along right, anterior, superior in mm, ``(2, 3)``."""
    spacing = in_ras(np.linalg.norm(affine[:3, :3], axis=0).tolist(), affine)
    return np.stack([in_ras(shape, affine) * spacing, spacing])


def size_in_plane(shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the same of a 2-D image without the axis across it, ``(2, 2)``."""
    across = int(np.argmin(in_ras(shape, affine)))
    return np.delete(size_in_ras(shape, affine), across, axis=1)


def voxel_ml(affine: NDArray[np.float64]) -> float:
    """Return the volume of a voxel in mL; the affine, 4x4, is in mm."""
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000


def voxel_size(image: Volume) -> float:
    """Return the volume of a voxel in mL; of 2-D images a pixel's area in its unit squared."""
    if image.spatial_dims == 3:
        return voxel_ml(image.affine)
    return math.prod(
        side for side, count in zip(image.spacing, image.shape, strict=True) if count > 1
    )


def min_max(values: NDArray[np.float64], digits: int) -> list[list[float]]:
    """Return the minimum and maximum of every column, rounded."""
    return [
        [round(float(value), digits) for value in side] for side in (values.min(0), values.max(0))
    ]


def size_differences(
    size: NDArray[np.float64], known: Mapping[str, Any], unit: str = "mm", factor: float = 1.5
) -> dict[str, str]:
    """Describe how a scan's field of view and voxel size differ from those of known scans.

    Args:
        size: size of the scan, from :func:`size_in_ras`.
        known: ``extent`` and ``spacing``, each the minimum and maximum over the known scans along
            right, anterior, superior, or in the plane of 2-D images; an absent one is not
            compared.
        unit: of all of these.
        factor: factor beyond the range that is still accepted.

    Returns:
        ``field_of_view`` or ``voxel_size`` -> text, for each difference.
    """
    found = {}
    sizes = dict(zip(("extent", "spacing"), size, strict=True))
    for key, flag, name, digits in (
        ("extent", "field_of_view", "field of view", 0),
        ("spacing", "voxel_size", "voxels of", 1),
    ):
        if known.get(key) is None:
            continue
        low, high = np.asarray(known[key], dtype=np.float64)
        if ((sizes[key] >= low / factor) & (sizes[key] <= high * factor)).all():
            continue
        here = " x ".join(f"{value:.{digits}f}" for value in sizes[key])
        theirs = " x ".join(
            f"{a:.{digits}f}-{b:.{digits}f}" for a, b in zip(low, high, strict=True)
        )
        found[flag] = f"{name} {here} {unit}, theirs {theirs} {unit}"
    return found
