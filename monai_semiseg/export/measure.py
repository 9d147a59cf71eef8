"""Measurements of a label map, and outliers among the sizes of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_semiseg.datasets.geometry_statistics import voxel_size
from monai_semiseg.datasets.label_values import background_of, foreground_of
from monai_semiseg.export.report import CaseResult
from monai_semiseg.export.sizes import KINDS, LabelSizes, size_kind
from monai_semiseg.images.grid import Unit
from monai_semiseg.images.volume import Volume


def label_sizes(
    mask: NDArray[Any], affine: NDArray[np.float64], names: Mapping[int, str], unit: Unit = "mm"
) -> LabelSizes:
    """Return the size of every label: mL of a scan, and of one slice mm2, or pixels.

    Args:
        mask: label numbers ``(i, j, k)``.
        affine: 4x4, voxel to ``unit``.
        names: number -> name; a label without a voxel has the size 0.
        unit: ``px`` if nobody knows the size of a pixel.
    """
    first, last = background_of(names), max(names, default=0)
    counts = np.bincount(_from_zero(mask, first).ravel(), minlength=last + 1 - first)
    image = Volume(mask, affine, unit=unit)
    each = 1.0 if unit == "px" else voxel_size(image)
    sizes = {
        name: float(counts[index - first]) * each for index, name in foreground_of(names).items()
    }
    return LabelSizes(size_kind(image.spatial_dims, unit), sizes)


def _from_zero(mask: NDArray[Any], first: int) -> NDArray[np.int64]:
    """Return label numbers counted from that of the background."""
    numbers = mask.astype(np.int64, copy=False)
    return numbers - first if first else numbers


def measure_labels(
    mask: NDArray[Any],
    names: Mapping[int, str],
    image: NDArray[Any] | None = None,
    uncertainty: NDArray[Any] | None = None,
    channels: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Measure every label of a mask but the background.

    Args:
        mask: class indices ``(i, j, k)``.
        names: index -> name.
        image: the scan's voxels, of the same shape; or ``(i, j, k, channels)``.
        uncertainty: map of the same shape.
        channels: names of the image's channels, if it has several.

    Returns:
        Name -> ``box`` (first and last voxel along every axis), ``largest_share`` (of the label's
        voxels, in its largest connected part; faces, edges and corners connect), and over its
        voxels ``mean_intensity`` (``mean_intensity_NAME`` of every channel) and
        ``mean_uncertainty`` if image and doubt are given.
    """
    maps = {**_intensities(image, channels), "mean_uncertainty": uncertainty}
    found: dict[str, dict[str, Any]] = {}
    first = background_of(names)
    boxes = ndimage.find_objects(_from_zero(mask, first).astype(np.int32, copy=False))
    for index, box in enumerate(boxes, first + 1):
        if box is None or index not in names:
            continue
        inside = mask[box] == index
        sizes = np.bincount(ndimage.label(inside, structure=np.ones((3, 3, 3)))[0].ravel())[1:]
        found[names[index]] = {
            "box": [[int(side.start) for side in box], [int(side.stop) - 1 for side in box]],
            "largest_share": round(float(sizes.max() / sizes.sum()), 4),
        }
        for key, values in maps.items():
            if values is not None and values.shape == mask.shape:
                found[names[index]][key] = round(
                    float(values[box][inside].mean(dtype=np.float64)), 4
                )
    return found


def _intensities(
    image: NDArray[Any] | None, channels: Sequence[str]
) -> dict[str, NDArray[Any] | None]:
    """Return the image, or each of its channels, by the name of its measurement."""
    if image is None or image.ndim == 3:
        return {"mean_intensity": image}
    names = channels or [str(number) for number in range(image.shape[3])]
    return {f"mean_intensity_{name}": image[..., at] for at, name in enumerate(names)}


def outliers(
    results: Sequence[CaseResult], least: int = 8, factor: float = 5.0
) -> dict[str, list[str]]:
    """Find cases with a size more than ``factor`` deviations off the run's median.

    Volumes are compared with volumes, areas in mm2 with such, and those in pixels likewise.

    A deviation is 1.4826 times the median absolute deviation (a robust standard deviation), at
    least 5 % of the median. Runs of fewer than ``least`` cases have no outliers.

    Returns:
        Mask -> remarks. Frames of a cine, and series of one folder, have their input in common.
    """
    found: dict[str, list[str]] = {}
    for kind in KINDS:
        done = [one for one in results if one.status == "done" and one.sizes.kind == kind]
        if len(done) >= least:
            _add_outliers(found, done, factor)
    return found


def _add_outliers(found: dict[str, list[str]], done: Sequence[CaseResult], factor: float) -> None:
    """Add the remarks on results whose sizes are of one kind."""
    names = set[str]().union(*(result.sizes for result in done))
    for name in sorted(names):
        sizes = np.array([result.sizes.get(name, 0.0) for result in done])
        median = float(np.median(sizes))
        spread = max(1.4826 * float(np.median(np.abs(sizes - median))), 0.05 * median)
        for result, size in zip(done, sizes, strict=True):
            if abs(size - median) > factor * spread:
                kind = result.sizes.kind
                remark = f"{name} {kind.text(size)}, the run's median {kind.text(median)}"
                found.setdefault(result.output, []).append(remark)


def flag_outliers(results: Sequence[CaseResult]) -> list[CaseResult]:
    """Add the flag ``volume_outlier`` and the remark to the cases that :func:`outliers` finds."""
    found = outliers(results)
    flagged = []
    for result in results:
        if result.status == "done" and result.output in found:
            flags = [*result.flags, "volume_outlier"]
            reason = "; ".join(filter(None, [result.reason, *found[result.output]]))
            result = replace(result, flags=flags, reason=reason)
        flagged.append(result)
    return flagged
