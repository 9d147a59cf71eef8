"""Is a scan like those that the network was trained on? It answers to anything, and means it only there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.geometry_statistics import size_differences, size_in_ras
from monai_semiseg.errors import ModalityError


def unlike_training(
    shape: Sequence[int],
    affine: NDArray[np.float64],
    training: Mapping[str, Any],
    factor: float = 1.5,
) -> str | None:
    """Say how a scan's field of view and voxels differ from the training scans', if they do.

    Args:
        shape: voxels.
        affine: 4x4, voxel to mm in RAS.
        training: as :func:`~monai_semiseg.datasets.geometry_statistics.size_differences` takes it.
        factor: how far beyond them is still taken for alike.

    Returns:
        A remark, or None.
    """
    remarks = size_differences(size_in_ras(shape, affine), training, factor)
    return (
        f"unlike the training scans: {'; '.join(remarks)}; look at the mask before you use it"
        if remarks
        else None
    )


def require_modality(found: str, training: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a scan that says it is of another modality than the training scans; NIfTI files do not say.

    Raises:
        ModalityError: If both are known and differ.
    """
    known = training.get("modality")
    if known and found and found.upper() != str(known).upper():
        raise ModalityError(
            f"modality {found}",
            expected=f"{known}, as the scans that the network was trained on",
            remedy="use weights for this modality, or say --any_modality",
            path=path,
        )
