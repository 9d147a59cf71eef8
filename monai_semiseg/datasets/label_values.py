"""Values of label files, their names, and the class of the network that each becomes.

``label_names`` of plans and configs has all of it: number in the label files -> name. In ascending
order the numbers are the classes 0, 1, 2, ... Masks are written with the numbers of the files.

One more number may be called ``ignore`` in the ``labels`` of a dataset or datalist, as in nnU-Net:
nobody knows what these voxels are. It is not a class and not in ``label_names``. In memory such
voxels hold :data:`IGNORE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import ConfigError, LabelError

MAX_VALUE = 65_535  # largest value of a 16-bit mask
MIN_VALUE = -(2**15)  # least value of a signed 16-bit mask, for a background
IGNORE = -1  # class of voxels that the label files call "ignore"
DECLARE_IGNORE = 'declare them in dataset.json, "labels": {"0": "background", ..., "255": "ignore"}'


def class_values(label_names: Mapping[Any, str], out_channels: int | None = None) -> list[int]:
    """Return the number of every class in the label files, for the bundles' configs.

    Args:
        label_names: number in the label files (text in JSON) -> name, background included; a label
            that is called ``ignore`` is left out.
        out_channels: number of classes of the network, to compare with; or None.

    Raises:
        ConfigError: If a number is not from 0 to 65535 (a background may be negative), the
            background is missing, or there are not ``out_channels`` of them.
    """
    try:
        names = class_names(label_names)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"label_names {label_names}", expected="number in the label files -> name"
        ) from error
    values = sorted(names)
    if not values or values[0] != background_of(names) or values[-1] > MAX_VALUE:
        raise ConfigError(
            f"label_names with the numbers {shortened(values)}",
            expected=f"0 for the background, and others up to {MAX_VALUE}",
        )
    if out_channels is not None and len(values) != out_channels:
        raise ConfigError(
            f"out_channels is {out_channels}, label_names has {len(values)} labels: "
            f"{shortened(values)}",
            expected="one output for every label",
            remedy="run monai-semiseg plan and merge its YAML, or set both",
        )
    return values


def matched_values(
    label_values: Sequence[int] | None, label_names: Mapping[int, str]
) -> tuple[int, ...]:
    """Return the numbers of the network's classes; by default 0 to the largest named number.

    Raises:
        ConfigError: If names and numbers differ, or the numbers do not ascend from 0.
    """
    if label_values is None:
        return tuple(range(max(class_names(label_names), default=0) + 1))
    if list(label_values) != class_values(label_names):
        raise ConfigError(
            f"label_values {list(label_values)}, label_names of {sorted(label_names)}",
            expected="a name for every number, in ascending order from 0",
            remedy="run monai-semiseg plan and merge its YAML, or set both",
        )
    return tuple(label_values)


def label_numbers(labels: Mapping[Any, Any], path: str | Path | None = None) -> dict[int, str]:
    """Read declared labels, number -> name or name -> number, as number -> name.

    Raises:
        ConfigError: If neither side holds whole numbers.
    """
    for pairs in (labels.items(), ((value, name) for name, value in labels.items())):
        try:
            return {int(value): str(name) for value, name in pairs}
        except (TypeError, ValueError):
            continue
    raise ConfigError(
        f"labels {dict(labels)}", expected='"labels": {"0": "background", "1": ...}', path=path
    )


def class_lookup(values: Sequence[int], ignore: int | None = None) -> NDArray[np.int64]:
    """Return the class of every number up to the largest; ``IGNORE`` if it has none.

    A negative number counts from the end of the array, as everywhere in NumPy and PyTorch.

    Args:
        values: numbers of the classes.
        ignore: number of voxels to ignore, or None.
    """
    known = [0, *values, ignore or 0]
    lookup = np.full(max(known) + 1 - min(known), IGNORE, dtype=np.int64)
    lookup[list(values)] = np.arange(len(values))
    return lookup


def in_file_numbers(classes: NDArray[Any], values: Sequence[int]) -> NDArray[Any]:
    """Return a map of the network's classes with the numbers of the label files."""
    if list(values) == list(range(len(values))):
        return classes
    return np.asarray(values, dtype=mask_dtype(values, min(values)))[classes.astype(np.int64)]


def mask_dtype(values: Sequence[int], background: int = 0) -> type[np.integer[Any]]:
    """Return the smallest type for all numbers: 8 or 16 bits, signed for a negative background.

    Args:
        values: the numbers.
        background: number of the background, the least one that is allowed; of formats without
            negative numbers 0.

    Raises:
        ConfigError: If a number does not fit.
    """
    lowest, largest = min(values, default=0), max(values, default=0)
    if lowest < max(background, MIN_VALUE) or largest > MAX_VALUE:
        raise ConfigError(
            f"label numbers {shortened(sorted(values))}",
            expected=f"numbers from {background} to {MAX_VALUE}",
        )
    if lowest < 0:
        return np.int16 if largest < 2**15 else np.int32
    return np.uint8 if largest < 256 else np.uint16


def compact_mask(
    mask: NDArray[Any], names: Iterable[int], background: int = 0
) -> NDArray[np.integer[Any]]:
    """Return a mask in the smallest type for its numbers and those of all its labels.

    Args:
        mask: label numbers.
        names: numbers of the labels.
        background: as in :func:`mask_dtype`.

    Raises:
        ConfigError: If a number does not fit.
    """
    numbers = [*names, int(mask.min(initial=0)), int(mask.max(initial=0))]
    return mask.astype(mask_dtype(numbers, background))


def names_of(labels: Mapping[int, str], found: Sequence[int]) -> dict[int, str]:
    """Return number -> name of the declared labels, else of those found; with the background."""
    names = dict(labels) or {value: f"label_{value}" for value in found if value != 0}
    background = background_of(names)
    return {value: names.get(value, "background") for value in sorted({background, *names})}


def is_background(name: object) -> bool:
    """Return True if a label is called background."""
    return str(name).strip().lower() == "background"


def background_of(names: Mapping[int, str]) -> int:
    """Return the number of the background: 0, unless a negative number has that name."""
    return min(0, *(value for value, name in names.items() if is_background(name)), 0)


def foreground_of(names: Mapping[int, str]) -> dict[int, str]:
    """Return number -> name of the classes without the background, in ascending order."""
    classes, background = class_names(names), background_of(names)
    return {value: classes[value] for value in sorted(classes) if value != background}


def ignore_value(labels: Mapping[Any, str]) -> int | None:
    """Return the number of the label that is called ``ignore``, or None.

    Args:
        labels: number in the label files -> name; see :func:`require_one_ignore`.
    """
    return max(_ignored(labels), default=0) or None


def class_names(labels: Mapping[Any, str]) -> dict[int, str]:
    """Return number -> name of the labels that are classes: all but ``ignore``."""
    ignored = _ignored(labels)
    names = {int(value): name for value, name in labels.items()}
    return {value: name for value, name in names.items() if value == 0 or value not in ignored}


def require_one_ignore(labels: Mapping[Any, str], path: str | Path | None = None) -> None:
    """Require that one label at most is called ``ignore``, and that it is not 0.

    Raises:
        LabelError: If there are several, or it is 0, which is the background.
    """
    numbers = _ignored(labels)
    if len(numbers) > 1 or 0 in numbers:
        raise LabelError(
            f"the labels {shortened(numbers)} are called 'ignore'",
            expected="one such label at most, and 0 for the background",
            remedy="write the label maps with another number for voxels to ignore",
            path=path,
        )


def _ignored(labels: Mapping[Any, str]) -> list[int]:
    ignored = (str(name).strip().lower() == "ignore" for name in labels.values())
    return sorted(int(value) for value, found in zip(labels, ignored, strict=True) if found)


def mapping_line(names: Mapping[int, str]) -> str:
    """Describe in one line the class of each number; empty if they are equal."""
    values = sorted(class_names(names))
    if values == list(range(len(values))):
        return ""
    classes = shortened(range(len(values)))
    return (
        f"label values {shortened(values)} become classes {classes}; masks are written with the "
        "original numbers"
    )


def shortened(values: Sequence[int] | Sequence[str]) -> str:
    """Return numbers or names as text, at most a dozen of them."""
    some = [str(value) for value in values[:12]]
    return ", ".join([*some, f"... ({len(values)} in all)"] if len(values) > 12 else some)
