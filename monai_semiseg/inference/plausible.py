"""Is a scan like those that the network was trained on? It answers to anything, and means it only there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import ModalityError


def size_in_ras(shape: Sequence[int], affine: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Field of view and voxel size along right, anterior and superior, mm."""
    axes = nib.orientations.io_orientation(affine)[:, 0].astype(int)
    spacing, extent = np.empty(3), np.empty(3)
    spacing[axes] = np.linalg.norm(affine[:3, :3], axis=0)
    extent[axes] = np.asarray(shape) * np.linalg.norm(affine[:3, :3], axis=0)
    return extent, spacing


def unlike_training(
    shape: Sequence[int], affine: NDArray[np.float64], training: Mapping[str, Any], factor: float = 1.5
) -> str | None:
    """Say how a scan's field of view and voxels differ from the training scans', if they do.

    Args:
        shape: voxels.
        affine: 4x4, voxel to mm in RAS.
        training: ``extent`` and ``spacing``, each the least and the greatest of the training scans, mm along right,
            anterior, superior; what is not there is not compared.
        factor: how far beyond them is still taken for alike.

    Returns:
        A remark, or None.
    """
    remarks = []
    sizes = dict(zip(("extent", "spacing"), size_in_ras(shape, affine), strict=True))
    for key, name, digits in (("extent", "field of view", 0), ("spacing", "voxels of", 1)):
        if training.get(key) is None:
            continue
        low, high = np.asarray(training[key], dtype=np.float64)
        if ((sizes[key] >= low / factor) & (sizes[key] <= high * factor)).all():
            continue
        here = " x ".join(f"{value:.{digits}f}" for value in sizes[key])
        known = " x ".join(f"{a:.{digits}f}-{b:.{digits}f}" for a, b in zip(low, high, strict=True))
        remarks.append(f"{name} {here} mm, theirs {known} mm")
    if not remarks:
        return None
    return f"unlike the training scans: {'; '.join(remarks)}; look at the mask before you use it"


def require_modality(found: str, training: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a scan that says it is of another modality than the training scans; NIfTI files do not say.

    Raises:
        ModalityError: If both are known and differ.
    """
    known = training.get("modality")
    if known and found and found.upper() != str(known).upper():
        raise ModalityError(
            f"modality {found}", expected=f"{known}, as the scans that the network was trained on",
            remedy="use weights for this modality, or say --any_modality", path=path,
        )  # fmt: skip
