"""Per-case segmentation metrics in mm, with a stated rule for empty masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from numpy.typing import NDArray

METRICS = ("dice", "surface_dice_1mm", "hd95_mm", "asd_mm")


@dataclass(frozen=True)
class CaseScore:
    """One class of one case.

    Attributes:
        dice: 2|P & L| / (|P| + |L|), 0 to 1.
        surface_dice_1mm: share of both surfaces within the tolerance of the other (Nikolov et al.,
            JMIR 2021).
        hd95_mm: 95th percentile of the symmetric surface distance, mm.
        asd_mm: mean symmetric surface distance, mm.
        label_ml: volume of the label.
        pred_ml: volume of the prediction.
    """

    dice: float
    surface_dice_1mm: float
    hd95_mm: float
    asd_mm: float
    label_ml: float
    pred_ml: float


def score_class(
    pred: NDArray[np.bool_],
    label: NDArray[np.bool_],
    spacing: Sequence[float],
    *,
    tolerance: float = 1.0,
) -> CaseScore:
    """Compare two masks of one class.

    Empty masks: if both are empty, nothing was to be found and nothing was: Dice and surface Dice
    1, distances 0. If one is empty, Dice and surface Dice are 0 and both distances are the diagonal
    of the scan, so that a missed structure counts as the worst distance instead of dropping out of
    the mean.

    Args:
        pred: mask, shape ``(i, j, k)``.
        label: mask of the same shape.
        spacing: voxel size in mm.
        tolerance: of the surface Dice, mm.
    """
    ml = float(np.prod(spacing)) / 1000
    volumes = float(label.sum()) * ml, float(pred.sum()) * ml
    if not pred.any() and not label.any():
        return CaseScore(1.0, 1.0, 0.0, 0.0, *volumes)
    if not pred.any() or not label.any():
        diagonal = math.dist(
            [0.0] * len(spacing), [n * s for n, s in zip(pred.shape, spacing, strict=True)]
        )
        return CaseScore(0.0, 0.0, diagonal, diagonal, *volumes)
    dice = 2 * float((pred & label).sum()) / float(pred.sum() + label.sum())
    a, b = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in _crop(pred, label))
    scale = [float(s) for s in spacing]
    return CaseScore(
        dice,
        float(
            compute_surface_dice(
                a, b, [tolerance], include_background=True, spacing=scale, use_subvoxels=True
            )
        ),
        float(
            compute_hausdorff_distance(a, b, include_background=True, percentile=95, spacing=scale)
        ),
        float(
            compute_average_surface_distance(
                a, b, include_background=True, symmetric=True, spacing=scale
            )
        ),
        *volumes,
    )


def score_case(
    pred: NDArray[np.integer],
    label: NDArray[np.integer],
    spacing: Sequence[float],
    classes: Sequence[int],
) -> dict[int, CaseScore]:
    """Compare two label maps class by class; background is not a class to score."""
    return {
        index: score_class(pred == index, label == index, spacing) for index in classes if index > 0
    }


def _crop(
    a: NDArray[np.bool_], b: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both masks cut to their common bounding box plus a voxel: the same distances, in a fraction of the time."""
    corners = np.argwhere(a | b)
    low, high = np.maximum(corners.min(0) - 1, 0), corners.max(0) + 2
    box = tuple(slice(lo, hi) for lo, hi in zip(low, high, strict=True))
    return np.pad(a[box], 1), np.pad(b[box], 1)
