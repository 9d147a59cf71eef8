"""Which numbers a label file may hold, what they mean, and which class of the network each becomes.

``label_names`` of plans and configs says it all: number in the label files -> name. In ascending order
the numbers are the network's classes 0, 1, 2, ...; masks are written with the files' own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import ConfigError, LabelError

MAX_VALUE = 65_535  # what a mask of 16 bits holds
_MANY = 8  # undeclared foreground numbers, above which they may be grey levels
_SHOWN = 5  # numbers in a message
_NO_IGNORE = "ignored voxels cannot be trained yet: paint them as a class, or leave the label out"


def class_values(label_names: Mapping[Any, str], out_channels: int | None = None) -> list[int]:
    """Return the number that every class of the network has in label files; what the bundles' configs call.

    Args:
        label_names: number in the label files (as text, as JSON has it) -> name, background included.
        out_channels: of the network, to be compared with; None compares nothing.

    Raises:
        ConfigError: If a number is not from 0 to 65535, 0 is missing, or there are not
            ``out_channels`` of them.
        LabelError: If a label is called ``ignore``.
    """
    try:
        values = sorted(int(value) for value in label_names)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"label_names {dict(label_names)}", expected="number in the label files -> name"
        ) from error
    if not values or values[0] != 0 or values[-1] > MAX_VALUE:
        raise ConfigError(
            f"label_names with the numbers {shortened(values)}",
            expected=f"0 for the background, and others up to {MAX_VALUE}",
        )
    require_no_ignore(label_names)
    if out_channels is not None and len(values) != out_channels:
        raise ConfigError(
            f"out_channels is {out_channels}, label_names has {len(values)} labels: {shortened(values)}",
            expected="one output for every label",
            remedy="run monai-semiseg plan and merge its YAML, or set both",
        )
    return values


def matched_values(
    label_values: Sequence[int] | None, label_names: Mapping[int, str]
) -> tuple[int, ...]:
    """Return the numbers of the network's classes; without ``label_values``, those from 0 to the highest name's.

    Raises:
        ConfigError: If the names are of other numbers, or the numbers do not ascend from 0.
        LabelError: If a label is called ``ignore``.
    """
    if label_values is None:
        return tuple(range(max(label_names, default=0) + 1))
    if list(label_values) != class_values(label_names):
        raise ConfigError(
            f"label_values {list(label_values)}, label_names of {sorted(label_names)}",
            expected="a name for every number, in ascending order from 0",
            remedy="run monai-semiseg plan and merge its YAML, or set both",
        )
    return tuple(label_values)


def label_numbers(labels: Mapping[Any, Any]) -> dict[int, str]:
    """Read declared labels, number -> name or name -> number, as number -> name.

    Raises:
        ConfigError: If neither side holds whole numbers.
    """
    for pairs in (labels.items(), ((value, name) for name, value in labels.items())):
        try:
            return {int(value): str(name) for value, name in pairs}
        except (TypeError, ValueError):
            continue
    raise ConfigError(f"labels {dict(labels)}", expected='"labels": {"0": "background", "1": ...}')


def class_lookup(values: Sequence[int]) -> NDArray[np.int64]:
    """Return the class of every number up to the highest of ``values``; -1 where there is none."""
    lookup = np.full(max(values) + 1, -1, dtype=np.int64)
    lookup[list(values)] = np.arange(len(values))
    return lookup


def in_file_numbers(classes: NDArray[Any], values: Sequence[int]) -> NDArray[Any]:
    """Return a map of the network's classes with the numbers that label files have for them."""
    if list(values) == list(range(len(values))):
        return classes
    return np.asarray(values, dtype=mask_dtype(values))[classes.astype(np.int64)]


def mask_dtype(values: Sequence[int]) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type that holds all numbers.

    Raises:
        ConfigError: If none of 8 or 16 bits does.
    """
    if values and not 0 <= min(values) <= max(values) <= MAX_VALUE:
        raise ConfigError(
            f"label numbers {shortened(sorted(values))}", expected=f"numbers from 0 to {MAX_VALUE}"
        )
    return np.uint8 if max(values, default=0) < 256 else np.uint16


def names_of(labels: Mapping[int, str], found: Sequence[int]) -> dict[int, str]:
    """Return number -> name in ascending order: of what is declared, else of what was found; 0 is always background."""
    names = dict(labels) or {value: f"label_{value}" for value in found if value != 0}
    return {value: names[value] for value in sorted(names)} if 0 in names else _with_zero(names)


def _with_zero(names: Mapping[int, str]) -> dict[int, str]:
    return {0: "background", **{value: names[value] for value in sorted(names)}}


def whole_labels(values: NDArray[Any], path: str | Path) -> NDArray[np.int64]:
    """Return a label map's values as integers.

    Raises:
        LabelError: If a value is not a whole number (a resampled label map, or an image in the
            wrong folder).
    """
    rounded = np.rint(values)
    off = ~(np.abs(values - rounded) <= 1e-3)  # NaN is off as well
    if off.any():
        some = [round(float(value), 4) for value in np.unique(values[off])[:_SHOWN]]
        raise LabelError(
            f"values that are not whole numbers at {off.sum()} of {off.size} voxels, such as {some}",
            expected="one class index per voxel",
            remedy="resample label maps with nearest neighbour only, and save them without smoothing",
            path=path,
        )
    return np.asarray(rounded, dtype=np.int64)


def count_values(labels: NDArray[np.integer[Any]]) -> dict[int, int]:
    """Return number -> voxels."""
    values, counts = np.unique(labels, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def require_values(counts: Mapping[int, int], labels: Mapping[int, str], path: str | Path) -> None:
    """Require that a label file holds declared numbers; without declared ones, any that can be a class.

    Args:
        counts: number -> voxels, of one file.
        labels: what the data set declares; 0 is background if it declares anything else.
        path: the file.

    Raises:
        LabelError: With every other number and its count.
    """
    known = set(names_of(labels, ())) if labels else set()
    strange = {
        value: count
        for value, count in counts.items()
        if not 0 <= value <= MAX_VALUE or (known and value not in known)
    }
    if not strange:
        return
    declared = f"; declared are {shortened(sorted(known))}" if known else ""
    hint = "255 often marks voxels to ignore: " + _NO_IGNORE if 255 in strange else ""
    raise LabelError(
        f"undeclared values {_counted(strange)}{declared}",
        expected=f"numbers from 0 to {MAX_VALUE}" if not known else "declared numbers only",
        remedy=hint or "mend the file, or declare its labels in dataset.json",
        path=path,
    )


def require_classes(
    labels: Mapping[int, str], counts: Mapping[str, Mapping[int, int]], path: str | Path
) -> None:
    """Require that the numbers of a whole data set can be classes.

    Args:
        labels: what the data set declares; empty if nothing does.
        counts: label file -> number -> voxels.
        path: the data set.

    Raises:
        LabelError: If a label is called ``ignore``, or undeclared numbers look like voxels to ignore
            (255 beside 1, 2, ...) or like grey levels, or another number than 0 is the background.
    """
    require_no_ignore(labels, path)
    _require_background(labels, path)
    found = sorted({value for of_file in counts.values() for value in of_file} - {0})
    if labels or not found:
        return
    run = [value for value in found if value != 255]
    if 255 in found and run and run == list(range(1, len(run) + 1)):
        files = [name for name, of_file in counts.items() if 255 in of_file]
        raise LabelError(
            f"value 255 beside {shortened([0, *run])} in {len(files)} label files, the first is {files[0]}: "
            "it often marks voxels to ignore",
            expected='every number declared in dataset.json, "labels": {"0": "background", ...}',
            remedy=f"declare 255 if it is a class; {_NO_IGNORE}",
            path=path,
        )
    consecutive = found == list(range(1, len(found) + 1)) and found[-1] < 255
    if len(found) > _MANY and not consecutive:
        worst = max(counts, key=lambda name: len(counts[name]))
        raise LabelError(
            f"{len(found)} undeclared values above 0, most of them in {worst}: {histogram(counts[worst])}",
            expected="a few numbers, one for each class; these look like grey levels",
            remedy="save masks without smoothing or JPEG compression; if these are classes, declare them "
            "in dataset.json",
            path=path,
        )


def odd_files(
    labels: Mapping[int, str], counts: Mapping[str, Mapping[int, int]], path: str | Path
) -> dict[str, LabelError]:
    """Return the label files without which the numbers of a data set can be classes, each with what is wrong.

    Args:
        labels: as in :func:`require_classes`.
        counts: likewise.
        path: likewise.

    Raises:
        LabelError: If no file is left, or those that are left cannot be classes together.
    """
    try:
        require_classes(labels, counts, path)
    except LabelError as error:
        odd = {}
        for name, of_file in counts.items():
            try:
                require_classes({}, {name: of_file}, path)
            except LabelError as cause:
                odd[name] = cause
        rest = {name: of_file for name, of_file in counts.items() if name not in odd}
        if not rest:
            raise error from None
        require_classes(labels, rest, path)
        return odd
    return {}


def require_no_ignore(labels: Mapping[Any, str], path: str | Path | None = None) -> None:
    """Require that no label is called ``ignore``, as nnU-Net calls voxels that nothing may learn from.

    Raises:
        LabelError: If one is.
    """
    for value, name in labels.items():
        if str(name).strip().lower() == "ignore":
            raise LabelError(
                f"label {value} is called {name!r}",
                expected="labels that are classes",
                remedy=_NO_IGNORE,
                path=path,
            )


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


def mapping_line(names: Mapping[int, str]) -> str:
    """Say in one line which classes the numbers become; empty if they are the classes already."""
    values = sorted(names)
    if values == list(range(len(values))):
        return ""
    classes = shortened(range(len(values)))
    return (
        f"label values {shortened(values)} become classes {classes}; masks are written with the "
        "original numbers"
    )


def histogram(counts: Mapping[int, int]) -> str:
    """Summarise number -> voxels: the most frequent ones with their share."""
    total = sum(counts.values())
    often = sorted(counts, key=lambda value: -counts[value])[:_SHOWN]
    shares = ", ".join(f"{value} ({counts[value] / total:.2%})" for value in often)
    rest = len(counts) - len(often)
    return f"{shares}, {rest} more" if rest else shares


def shortened(values: Sequence[int]) -> str:
    """Write numbers as text, at most a dozen of them."""
    some = [str(value) for value in values[:12]]
    return ", ".join([*some, f"... ({len(values)} in all)"] if len(values) > 12 else some)


def _counted(counts: Mapping[int, int]) -> str:
    some = list(counts.items())[:_SHOWN]
    text = ", ".join(f"{value} ({count} voxels)" for value, count in some)
    rest = len(counts) - len(some)
    return f"{text} and {rest} more" if rest else text
