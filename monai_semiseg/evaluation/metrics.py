"""Per-case segmentation metrics in mm or pixels, with a stated rule for empty masks."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
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

from monai_semiseg.export.sizes import size_kind
from monai_semiseg.images.grid import Unit
from monai_semiseg.images.volume import spatial_dims_of


@dataclass(frozen=True)
class Scale:
    """Say what the numbers of a score are measured in.

    Attributes:
        spatial_dims: 3 for scans, whose labels have volumes; 2 for images, whose labels have areas.
        unit: of distances.
    """

    spatial_dims: int = 3
    unit: Unit = "mm"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics, in the order of a score's fields."""
        return ("dice", f"surface_dice_1{self.unit}", f"hd95_{self.unit}", f"asd_{self.unit}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of all fields of a score."""
        size = size_kind(self.spatial_dims, self.unit).column
        return (*self.metrics, f"label_{size}", f"pred_{size}")


METRICS = Scale().metrics
PIXEL_METRICS = Scale(unit="px").metrics


def metrics_among(columns: Collection[str]) -> tuple[str, ...]:
    """Return the metrics of a table by the names of its columns: those in pixels, or in mm."""
    return Scale(unit=distance_unit(columns)).metrics


def distance_unit(metrics: Collection[str]) -> Unit:
    """Return the unit of the distances among some metrics."""
    return "px" if set(PIXEL_METRICS) <= set(metrics) else "mm"


@dataclass(frozen=True)
class CaseScore:
    """One class of one case, in the units of a :class:`Scale`.

    Attributes:
        dice: 2|P & L| / (|P| + |L|), 0 to 1.
        surface_dice: share of both surfaces within the tolerance of the other (Nikolov et al.,
            JMIR 2021).
        hd95: 95th percentile of the symmetric surface distance.
        asd: mean symmetric surface distance.
        label_size: volume or area of the label.
        pred_size: volume or area of the prediction.
    """

    dice: float
    surface_dice: float
    hd95: float
    asd: float
    label_size: float
    pred_size: float


def pooled_dice(dice: Sequence[float], sizes: Sequence[float]) -> float:
    """Return the Dice of one class over the voxels of all cases together.

    With ``s_n = |P_n| + |L_n|`` it is ``sum_n s_n dice_n / sum_n s_n``: large structures weigh more
    than in the mean over cases. It is 1 where all masks are empty.

    Args:
        dice: of every case.
        sizes: of its label and its prediction together, in one unit.
    """
    total = float(np.sum(sizes))
    return float(np.dot(dice, sizes)) / total if total != 0 else 1.0


def score_class(
    pred: NDArray[np.bool_],
    label: NDArray[np.bool_],
    spacing: Sequence[float],
    *,
    tolerance: float = 1.0,
    unit: Unit = "mm",
) -> CaseScore:
    """Compare two masks of one class.

    Empty masks: if both are empty, the prediction is right: Dice and surface Dice 1, distances 0.
    If one is empty, Dice and surface Dice are 0 and both distances are the diagonal of the scan, so
    that a missed structure counts as the worst distance and is not left out of the mean.

    Args:
        pred: mask, shape ``(i, j, k)``; one slice is compared in its plane, where an edge is a
            line: in 3-D every pixel of a slice would lie on the surface.
        label: mask of the same shape.
        spacing: voxel size in ``unit``.
        tolerance: of the surface Dice, in ``unit``.
        unit: ``mm`` or ``px``; volumes are in mL, or voxels, and areas in the unit squared.
    """
    if pred.ndim == 3 and spatial_dims_of(pred.shape) == 2:
        across = int(np.argmin(pred.shape))
        pred, label = pred.squeeze(across), label.squeeze(across)
        spacing = [side for axis, side in enumerate(spacing) if axis != across]
    each = float(np.prod(spacing)) / (1000 if pred.ndim == 3 and unit == "mm" else 1)
    sizes = (float(label.sum()) * each, float(pred.sum()) * each)
    if not pred.any() and not label.any():
        return CaseScore(1.0, 1.0, 0.0, 0.0, *sizes)
    if not pred.any() or not label.any():
        diagonal = math.dist(
            [0.0] * len(spacing), [n * s for n, s in zip(pred.shape, spacing, strict=True)]
        )
        return CaseScore(0.0, 0.0, diagonal, diagonal, *sizes)
    dice = 2 * float((pred & label).sum()) / float(pred.sum() + label.sum())
    return CaseScore(dice, *_surface_scores(pred, label, spacing, tolerance), *sizes)


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
    unit: Unit = "mm",
) -> dict[int, CaseScore]:
    """Compare two label maps class by class; background is not a class to score."""
    return {
        index: score_class(pred == index, label == index, spacing, unit=unit)
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
