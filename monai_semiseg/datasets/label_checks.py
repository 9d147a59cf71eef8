"""Checks of the values of label files: whole numbers, declared labels, plausible classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.label_values import (
    DECLARE_IGNORE,
    MAX_VALUE,
    ignore_value,
    names_of,
    require_one_ignore,
    shortened,
)
from monai_semiseg.errors import LabelError

_MANY = 8  # with more undeclared foreground values, they may be grey levels
_SHOWN = 5  # values in a message


def whole_labels(values: NDArray[Any], path: str | Path) -> NDArray[np.int64]:
    """Return a label map's values as integers.

    Raises:
        LabelError: If a value is not whole (a resampled label map, or an image).
    """
    rounded = np.rint(values)
    off = ~(np.abs(values - rounded) <= 1e-3)  # NaN is off as well
    if off.any():
        some = [round(float(value), 4) for value in np.unique(values[off])[:_SHOWN]]
        raise LabelError(
            f"values that are not whole numbers at {off.sum()} of {off.size} voxels, "
            f"such as {some}",
            expected="one class index per voxel",
            remedy="resample label maps with nearest neighbour, and save them without smoothing",
            path=path,
        )
    return np.asarray(rounded, dtype=np.int64)


def count_values(labels: NDArray[np.integer[Any]]) -> dict[int, int]:
    """Return number -> voxels of a label map."""
    values, counts = np.unique(labels, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def split_ignored(
    counts: Mapping[int, int], labels: Mapping[int, str]
) -> tuple[dict[int, int], int]:
    """Return number -> voxels without the number called ``ignore``, and its voxels.

    Args:
        counts: number -> voxels of one file.
        labels: declared labels of the dataset.
    """
    ignore = ignore_value(labels)
    known = {value: count for value, count in counts.items() if value != ignore}
    return known, 0 if ignore is None else counts.get(ignore, 0)


def require_values(counts: Mapping[int, int], labels: Mapping[int, str], path: str | Path) -> None:
    """Require declared values in a label file; if none are declared, values that can be classes.

    Args:
        counts: number -> voxels of one file.
        labels: declared labels of the dataset; 0 is background if any other is declared.
        path: the file.

    Raises:
        LabelError: If there are other values; each is named with its count.
    """
    known = set(names_of(labels, ())) if labels else set()
    undeclared = {
        value: count
        for value, count in counts.items()
        if not 0 <= value <= MAX_VALUE or (known and value not in known)
    }
    if not undeclared:
        return
    declared = f"; declared are {shortened(sorted(known))}" if known else ""
    hint = "255 often marks voxels to ignore: " + DECLARE_IGNORE if 255 in undeclared else ""
    raise LabelError(
        f"undeclared values {_counted(undeclared)}{declared}",
        expected=f"numbers from 0 to {MAX_VALUE}" if not known else "declared numbers only",
        remedy=hint or "correct the file, or declare its labels in dataset.json",
        path=path,
    )


def require_classes(
    labels: Mapping[int, str], counts: Mapping[str, Mapping[int, int]], path: str | Path
) -> None:
    """Require that the values of a whole dataset can be classes.

    Args:
        labels: declared labels of the dataset, or empty.
        counts: label file -> number -> voxels.
        path: the dataset.

    Raises:
        LabelError: If label 0 is called ``ignore``, or undeclared values look like ignored voxels
            (255 beside 1, 2, ...) or like grey levels.
    """
    require_one_ignore(labels, path)
    _require_background(labels, path)
    found = sorted(set().union(*counts.values()) - {0})
    if labels or not found:
        return
    run = [value for value in found if value != 255]
    if 255 in found and run and run == list(range(1, len(run) + 1)):
        files = [name for name, of_file in counts.items() if 255 in of_file]
        raise LabelError(
            f"value 255 beside {shortened([0, *run])} in {len(files)} label files, the first is "
            f"{files[0]}: it often marks voxels to ignore",
            expected='every number declared in dataset.json, "labels": {"0": "background", ...}',
            remedy=f"{DECLARE_IGNORE}, or 255 by its name if it is a class",
            path=path,
        )
    consecutive = found == list(range(1, len(found) + 1)) and found[-1] < 255
    if len(found) > _MANY and not consecutive:
        worst = max(counts, key=lambda name: len(counts[name]))
        raise LabelError(
            f"{len(found)} undeclared values above 0, most of them in {worst}: "
            f"{histogram(counts[worst])}",
            expected="a few numbers, one for each class; these look like grey levels",
            remedy="save masks without smoothing or JPEG compression; declare them in dataset.json "
            "if they are classes",
            path=path,
        )


def invalid_label_files(
    labels: Mapping[int, str], counts: Mapping[str, Mapping[int, int]], path: str | Path
) -> dict[str, LabelError]:
    """Return the label files with values that cannot be classes, each with its error.

    Args:
        labels: as in :func:`require_classes`.
        counts: as in :func:`require_classes`.
        path: as in :func:`require_classes`.

    Raises:
        LabelError: If no valid file is left, or the values of the valid files cannot be classes.
    """
    try:
        require_classes(labels, counts, path)
    except LabelError as error:
        invalid = {}
        for name, of_file in counts.items():
            try:
                require_classes({}, {name: of_file}, path)
            except LabelError as cause:
                invalid[name] = cause
        valid = {name: of_file for name, of_file in counts.items() if name not in invalid}
        if not valid:
            raise error from None
        require_classes(labels, valid, path)
        return invalid
    return {}


def histogram(counts: Mapping[int, int]) -> str:
    """Describe number -> voxels by the most frequent numbers and their share."""
    total = sum(counts.values())
    frequent = sorted(counts, key=lambda value: -counts[value])[:_SHOWN]
    shares = ", ".join(f"{value} ({counts[value] / total:.2%})" for value in frequent)
    rest = len(counts) - len(frequent)
    return f"{shares}, {rest} more" if rest else shares


def _counted(counts: Mapping[int, int]) -> str:
    some = list(counts.items())[:_SHOWN]
    text = ", ".join(f"{value} ({count} voxels)" for value, count in some)
    rest = len(counts) - len(some)
    return f"{text} and {rest} more" if rest else text


def _require_background(labels: Mapping[int, str], path: str | Path) -> None:
    """Refuse a background that is not 0: it would be a class of its own, beside an unused 0."""
    for value, name in labels.items():
        if value != 0 and 0 not in labels and str(name).strip().lower() == "background":
            raise LabelError(
                f"label {value} is called {name!r}, and 0 is not declared",
                expected="0 for the background",
                remedy="write label maps with 0 there, or declare what 0 is",
                path=path,
            )
