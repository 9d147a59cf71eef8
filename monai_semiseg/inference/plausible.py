"""Is a scan like those that the network was trained on? It answers to anything, and means it only there."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from numpy.typing import NDArray


def extent_in_ras(shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Field of view along right, anterior and superior, mm."""
    axes = nib.orientations.io_orientation(affine)[:, 0].astype(int)
    extent = np.empty(3)
    extent[axes] = np.asarray(shape) * np.linalg.norm(affine[:3, :3], axis=0)
    return extent


def unlike_training(
    shape: Sequence[int], affine: NDArray[np.float64], training: Sequence[Sequence[float]], factor: float = 1.5
) -> str | None:
    """Say how a scan's field of view differs from the training scans', if it does.

    Args:
        shape: voxels.
        affine: 4x4, voxel to mm in RAS.
        training: least and greatest field of view of the training scans, each mm along right, anterior, superior.
        factor: how far beyond them is still taken for alike.

    Returns:
        A remark, or None.
    """
    extent = extent_in_ras(shape, affine)
    low, high = np.asarray(training, dtype=np.float64)
    if ((extent >= low / factor) & (extent <= high * factor)).all():
        return None
    size = " x ".join(f"{value:.0f}" for value in extent)
    known = " x ".join(f"{a:.0f}-{b:.0f}" for a, b in zip(low, high, strict=True))
    return f"unlike the training scans: field of view {size} mm, theirs {known} mm; look at the mask before you use it"
