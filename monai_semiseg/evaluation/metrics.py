"""Per-case segmentation metrics in mm, with a stated rule for empty masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

    Empty masks: if both are empty, the prediction is right: Dice and surface Dice 1, distances 0.
    If one is empty, Dice and surface Dice are 0 and both distances are the diagonal of the scan, so
    that a missed structure counts as the worst distance and is not left out of the mean.

    Args:
        pred: mask, shape ``(i, j, k)``.
        label: mask of the same shape.
        spacing: voxel size in mm.
        tolerance: of the surface Dice, mm.
    """
    ml = float(np.prod(spacing)) / 1000
    volumes = (float(label.sum()) * ml, float(pred.sum()) * ml)
    if not pred.any() and not label.any():
        return CaseScore(1.0, 1.0, 0.0, 0.0, *volumes)
    if not pred.any() or not label.any():
        diagonal = math.dist(
            [0.0] * len(spacing), [n * s for n, s in zip(pred.shape, spacing, strict=True)]
        )
        return CaseScore(0.0, 0.0, diagonal, diagonal, *volumes)
    dice = 2 * float((pred & label).sum()) / float(pred.sum() + label.sum())
    return CaseScore(dice, *_surface_scores(pred, label, spacing, tolerance), *volumes)


def _surface_scores(
    pred: NDArray[np.bool_], label: NDArray[np.bool_], spacing: Sequence[float], tolerance: float
) -> tuple[float, float, float]:
    """Return surface Dice, 95th percentile and mean of the surface distances."""
    masks = [torch.from_numpy(m[None, None].astype(np.float32)) for m in _crop(pred, label)]
    common: dict[str, Any] = {
        "include_background": True,
        "spacing": [float(side) for side in spacing],
    }
    dice = compute_surface_dice(*masks, [tolerance], use_subvoxels=True, **common)
    hausdorff = compute_hausdorff_distance(*masks, percentile=95, **common)
    mean = compute_average_surface_distance(*masks, symmetric=True, **common)
    return float(dice), float(hausdorff), float(mean)


def score_case(
    pred: NDArray[np.integer],
    label: NDArray[np.integer],
    spacing: Sequence[float],
    classes: Sequence[int],
    background: int = 0,
) -> dict[int, CaseScore]:
    """Compare two label maps class by class; background is not a class to score."""
    return {
        index: score_class(pred == index, label == index, spacing)
        for index in classes
        if index != background
    }


def _crop(
    a: NDArray[np.bool_], b: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Crop both masks to their common bounding box plus a voxel: equal distances in less time."""
    corners = np.argwhere(a | b)
    low = np.maximum(corners.min(0) - 1, 0)
    high = corners.max(0) + 2
    box = tuple(slice(lo, hi) for lo, hi in zip(low, high, strict=True))
    return np.pad(a[box], 1), np.pad(b[box], 1)
