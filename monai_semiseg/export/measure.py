"""Measurements of a label map, and outliers among the volumes of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_semiseg.datasets.geometry_statistics import voxel_ml
from monai_semiseg.export.report import CaseResult


def volumes_ml(
    mask: NDArray[Any], affine: NDArray[np.float64], names: Mapping[int, str]
) -> dict[str, float]:
    """Return label name -> mL, 0 for an empty label; the affine gives the size of voxels."""
    counts = np.bincount(
        mask.ravel().astype(np.int64, copy=False), minlength=max(names, default=0) + 1
    )
    ml = voxel_ml(affine)
    return {name: float(counts[index]) * ml for index, name in names.items() if index > 0}


def measure_labels(
    mask: NDArray[Any],
    names: Mapping[int, str],
    image: NDArray[Any] | None = None,
    uncertainty: NDArray[Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure every label of a mask but the background.

    Args:
        mask: class indices ``(i, j, k)``.
        names: index -> name.
        image: the scan's voxels, of the same shape.
        uncertainty: map of the same shape.

    Returns:
        Name -> ``box`` (first and last voxel along every axis), ``largest_share`` (of the label's
        voxels, in its largest connected part; faces, edges and corners connect), and over its
        voxels ``mean_intensity`` and ``mean_uncertainty`` if image and doubt are given.
    """
    found: dict[str, dict[str, Any]] = {}
    for index, box in enumerate(ndimage.find_objects(mask.astype(np.int32, copy=False)), 1):
        if box is None or index not in names:
            continue
        inside = mask[box] == index
        sizes = np.bincount(ndimage.label(inside, structure=np.ones((3, 3, 3)))[0].ravel())[1:]
        found[names[index]] = {
            "box": [[int(side.start) for side in box], [int(side.stop) - 1 for side in box]],
            "largest_share": round(float(sizes.max() / sizes.sum()), 4),
        }
        for key, values in (("mean_intensity", image), ("mean_uncertainty", uncertainty)):
            if values is not None and values.shape == mask.shape:
                found[names[index]][key] = round(
                    float(values[box][inside].mean(dtype=np.float64)), 4
                )
    return found


def outliers(
    results: Sequence[CaseResult], least: int = 8, factor: float = 5.0
) -> dict[str, list[str]]:
    """Find cases with a volume more than ``factor`` deviations off the run's median.

    A deviation is 1.4826 times the median absolute deviation (a robust standard deviation), at
    least 5 % of the median. Runs of fewer than ``least`` cases have no outliers.

    Returns:
        Input -> remarks.
    """
    done = [result for result in results if result.status == "done"]
    found: dict[str, list[str]] = {}
    if len(done) < least:
        return found
    names = set[str]().union(*(result.volumes_ml for result in done))
    for name in sorted(names):
        volumes = np.array([result.volumes_ml.get(name, 0.0) for result in done])
        median = float(np.median(volumes))
        spread = max(1.4826 * float(np.median(np.abs(volumes - median))), 0.05 * median)
        for result, volume in zip(done, volumes, strict=True):
            if abs(volume - median) > factor * spread:
                remark = f"{name} {volume:.2f} mL, the run's median {median:.2f} mL"
                found.setdefault(result.input, []).append(remark)
    return found


def flag_outliers(results: Sequence[CaseResult]) -> list[CaseResult]:
    """Add the flag ``volume_outlier`` and the remark to the cases that :func:`outliers` finds."""
    found = outliers(results)
    flagged = []
    for result in results:
        if result.status == "done" and result.input in found:
            flags = [*result.flags, "volume_outlier"]
            reason = "; ".join(filter(None, [result.reason, *found[result.input]]))
            result = replace(result, flags=flags, reason=reason)
        flagged.append(result)
    return flagged
