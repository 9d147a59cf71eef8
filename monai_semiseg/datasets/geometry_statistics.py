"""How a scan's field of view and voxels differ from those of other scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray


def in_ras(values: Sequence[float], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """What an array has along its axes, along right, anterior and superior."""
    axes = nib.orientations.io_orientation(affine)[:, 0].astype(int)
    ordered = np.empty(3)
    ordered[axes] = values
    return ordered


def size_in_ras(shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Field of view and voxel size along right, anterior and superior, mm, ``(2, 3)``."""
    spacing = in_ras(np.linalg.norm(affine[:3, :3], axis=0).tolist(), affine)
    return np.stack([in_ras(shape, affine) * spacing, spacing])


def voxel_ml(affine: NDArray[np.float64]) -> float:
    """Volume of a voxel in mL; the affine, 4x4, is in mm."""
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000


def extremes(values: NDArray[np.float64], digits: int) -> list[list[float]]:
    """Least and greatest of every column, rounded."""
    return [
        [round(float(value), digits) for value in side] for side in (values.min(0), values.max(0))
    ]


def size_differences(
    size: NDArray[np.float64], known: Mapping[str, Any], factor: float = 1.5
) -> dict[str, str]:
    """Say how a scan's field of view and voxels lie beyond those of known scans.

    Args:
        size: of the scan, from :func:`size_in_ras`.
        known: ``extent`` and ``spacing``, each the least and the greatest of the known scans, mm
            along right, anterior, superior; what is not there is not compared.
        factor: how far beyond them is still taken for alike.

    Returns:
        A phrase per difference, by what differs: ``field_of_view`` or ``voxel_size``.
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
        found[flag] = f"{name} {here} mm, theirs {theirs} mm"
    return found
