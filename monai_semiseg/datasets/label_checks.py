"""Checks of the values of label files: whole numbers, declared labels, plausible classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.label_values import (
    DECLARE_IGNORE,
    MAX_VALUE,
    background_of,
    ignore_value,
    is_background,
    names_of,
    require_one_ignore,
    shortened,
)
from monai_semiseg.errors import LabelError

_MANY = 8  # with more undeclared foreground values, they may be grey levels
_RARE = 0.02  # of the voxels of the largest number
_SHOWN = 5  # values in a message


def whole_labels(values: NDArray[Any], path: str | Path) -> NDArray[np.integer[Any]]:
    """Return a label map's values as integers; integers as they are.

    Raises:
        LabelError: If a value is not whole (a resampled label map, or an image).
    """
    if values.dtype.kind in "iu":
        return values
    with np.errstate(invalid="ignore"):  # NaN
        whole = values.astype(np.int32)
    if (whole == values).all():
        return whole
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
    lowest = min(background_of(labels), ignore_value(labels) or 0)
    undeclared = {
        value: count
        for value, count in counts.items()
        if not lowest <= value <= MAX_VALUE or (known and value not in known)
    }
    if not undeclared:
        return
    if min(undeclared) > 0 and looks_grey(counts):
        raise grey_error(counts, path)
    declared = f"; declared are {shortened(sorted(known))}" if known else ""
    hint = "255 often marks voxels to ignore: " + DECLARE_IGNORE if 255 in undeclared else ""
    raise LabelError(
        f"undeclared values {_counted(undeclared)}{declared}",
        expected=f"numbers from 0 to {MAX_VALUE}" if not known else "declared numbers only",
        remedy=hint or "correct the file, or declare its labels in dataset.json",
        path=path,
    )


def looks_grey(counts: Mapping[int, int]) -> bool:
    """Return True if a file's numbers look like grey levels, not like classes.

    They are many and do not follow each other; or the largest is nearly white, and there are rare
    ones between it and black, as along the border of a smoothed or compressed mask.
    """
    found = sorted(value for value in counts if value > 0)
    if len(found) > _MANY and not _consecutive(found):
        return True
    if not found or not 240 <= found[-1] <= 255:
        return False
    between = found[:-1] if found[:-1] != list(range(1, len(found))) else []
    return any(counts[value] < _RARE * counts[found[-1]] for value in between)


def grey_error(counts: Mapping[int, int], path: str | Path, where: str = "") -> LabelError:
    """Return the error for grey levels, with a short histogram.

    Args:
        counts: number -> voxels of the file.
        path: the file, or the dataset.
        where: name of the file if ``path`` is the dataset.
    """
    # Half of white in 8 or 16 bits, also if the mask's brightest voxel is a little darker.
    white = next((full for full in (255, 65535) if full // 2 < max(counts) <= full), max(counts))
    return LabelError(
        f"{len(counts)} values{f', in {where}' * bool(where)}: {histogram(counts)}",
        expected="a few numbers, one for each class; these look like grey levels",
        remedy=f"--label_threshold {white // 2}: more is foreground; or declare classes in "
        "dataset.json and save masks without smoothing or JPEG compression",
        path=path,
    )


def _consecutive(found: Sequence[int]) -> bool:
    return list(found) == list(range(1, len(found) + 1)) and found[-1] < 255


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
    found = sorted(set().union(*counts.values()) - {background_of(labels)})
    if labels or not found:
        return
    total = Counter[int]()
    for of_file in counts.values():
        total.update(of_file)
    run = [value for value in found if value != 255]
    rare = len(run) > _MANY and max(total[value] for value in run) < _RARE * total[255]
    grey = rare or run[-1:] == [254]  # every level between black and white
    if 255 in found and run == [1] and not any({1, 255} <= set(one) for one in counts.values()):
        raise _two_writings(counts, path)
    if 255 in found and run and run == list(range(1, len(run) + 1)) and not grey:
        files = [name for name, of_file in counts.items() if 255 in of_file]
        raise LabelError(
            f"value 255 beside {shortened([0, *run])} in {len(files)} label files, the first is "
            f"{files[0]}: it often marks voxels to ignore",
            expected='every number declared in dataset.json, "labels": {"0": "background", ...}',
            remedy=f"{DECLARE_IGNORE}, or declare 255 under its name if it is a class",
            path=path,
        )
    if grey or looks_grey(total):
        worst = max(counts, key=lambda name: len(counts[name]))
        raise grey_error(counts[worst], path, worst)


def _two_writings(counts: Mapping[str, Mapping[int, int]], path: str | Path) -> LabelError:
    """Return the error for masks of which some hold 0 and 1, and the others 0 and 255."""
    files = {value: [name for name in counts if value in counts[name]] for value in (1, 255)}
    texts = [
        f"0 and {value} in {len(names)} (such as {names[0]})" for value, names in files.items()
    ]
    return LabelError(
        f"label files with other numbers for the foreground: {', '.join(texts)}",
        expected="one number for each class, the same in all files",
        remedy="--label_threshold 0: more is foreground; or, if 255 marks voxels to ignore, "
        + DECLARE_IGNORE,
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
        LabelError: If most files are invalid, or the values of the valid ones cannot be classes.
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
        if len(valid) < len(invalid):  # a property of the dataset, not of some files
            raise error from None
        require_classes(labels, valid, path)
        return invalid
    return {}


def histogram(counts: Mapping[int, int]) -> str:
    """Describe number -> voxels by the most frequent numbers."""
    frequent = sorted(counts, key=lambda value: (-counts[value], value))
    return _counted({value: counts[value] for value in frequent})


def _counted(counts: Mapping[int, int]) -> str:
    some = list(counts.items())[:_SHOWN]
    text = ", ".join(f"{value} ({count} voxels)" for value, count in some)
    rest = len(counts) - len(some)
    return f"{text} and {rest} more" if rest else text


def _require_background(labels: Mapping[int, str], path: str | Path) -> None:
    """Refuse a background that is not 0: it would be a class of its own, beside an unused 0."""
    for value, name in labels.items():
        if value > 0 and 0 not in labels and is_background(name):
            raise LabelError(
                f"label {value} is called {name!r}, and 0 is not declared",
                expected="0 for the background",
                remedy="write label maps with 0 for the background, or declare the meaning of 0",
                path=path,
            )
