"""Numbers of colour-coded label files: declared colours, and indices of one palette."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.label_rules import COLOUR_EXAMPLE, LabelRule
from monai_semiseg.errors import LabelError

_SHOWN = 3  # colours in a message
_MOST_CLASSES = 8  # more colours than that come from smoothing or compression
BLACK = "#000000"


def numbers_of_colours(
    array: NDArray[Any], coloured: bool, numbers: Mapping[str, int], path: Path
) -> NDArray[np.int64]:
    """Return the number of every voxel's colour.

    Args:
        array: ``(i, j, k)`` of grey, or ``(i, j, k, 3)`` of red, green and blue, 0 to 255.
        coloured: whether it has a fourth axis.
        numbers: ``#rrggbb`` -> number.
        path: the file.

    Raises:
        LabelError: If a colour is not declared; it is named with its count and first position.
    """
    codes = _codes(array, coloured, path)
    found, places = np.unique(codes, return_inverse=True)
    colours = [f"#{int(code):06x}" for code in found]
    others = [code for code, colour in zip(found, colours, strict=True) if colour not in numbers]
    if others:
        raise _undeclared(codes, others, numbers, path)
    lookup = np.array([numbers[colour] for colour in colours], dtype=np.int64)
    return lookup[places.reshape(codes.shape)]


def used_colours(indices: NDArray[Any], colours: NDArray[np.uint8]) -> dict[int, str]:
    """Return index -> ``#rrggbb`` of the indices that occur.

    Args:
        indices: index of every pixel.
        colours: red, green and blue of every index, ``(entries, 3)``.
    """
    return {index: "#" + colours[index].tobytes().hex() for index in np.unique(indices).tolist()}


def require_palette(used: Mapping[int, str], rule: LabelRule, path: Path) -> None:
    """Require that the indices of a palette picture are numbers.

    Args:
        used: index -> colour of the indices that occur.
        rule: with the palette of the other files, as far as known.
        path: the file.

    Raises:
        LabelError: If an index has another colour than in the other files, or a threshold is set,
            which a coloured picture has no grey value for.
    """
    if rule.threshold is not None:
        raise LabelError(
            f"a palette of colours ({_listed(used)}), and a threshold for grey values",
            expected="a grey picture",
            remedy=f"leave --label_threshold out, or declare the colours: {COLOUR_EXAMPLE}",
            path=path,
        )
    if other := other_colours(used, rule.palette):
        raise palette_error(other, path)


def other_colours(used: Mapping[int, str], shared: Mapping[int, str]) -> str:
    """Describe the first index that has another colour in two palettes; empty if none has."""
    for index in sorted(used):
        if shared.get(index, used[index]) != used[index]:
            return f"index {index} is {used[index]} here and {shared[index]} in other files"
    back = {colour: index for index, colour in shared.items()}
    for index, colour in sorted(used.items()):
        if index not in shared and colour in back:
            return f"{colour} is index {index} here and index {back[colour]} in other files"
    return ""


def palette_fault(palettes: Mapping[str, Mapping[int, str]], root: str | Path) -> LabelError | None:
    """Return the error of label files with different palettes; None if all share one.

    Args:
        palettes: label file -> index -> colour.
        root: folder of the dataset.
    """
    shared: dict[int, str] = {}
    for name, used in palettes.items():
        if other := other_colours(used, shared):
            return palette_error(other, Path(root, name))
        shared |= used
    return None


def palette_error(other: str, path: str | Path) -> LabelError:
    """Return the error for palettes that are not the same in all files."""
    return LabelError(
        f"another palette: {other}",
        expected="one palette for all label files, or declared colours",
        remedy=f"declare the colours in dataset.json: {COLOUR_EXAMPLE}",
        path=path,
    )


def position(mask: NDArray[np.bool_]) -> str:
    """Describe the first voxel of a mask ``(i, j, k)``, row by row, counted from 0."""
    k, j, i = (int(n) for n in np.argwhere(mask.transpose(2, 1, 0))[0])
    return f"column {i}, row {j}" if mask.shape[2] == 1 else f"voxel {i}, {j}, {k}"


def _codes(array: NDArray[Any], coloured: bool, path: Path) -> NDArray[np.int64]:
    """Return ``0xrrggbb`` of every voxel."""
    if array.min() < 0 or array.max() > 255 or array.dtype.kind not in "iub":
        raise LabelError(
            f"values from {array.min():g} to {array.max():g} of type {array.dtype}",
            expected="colours of 8 bits, 0 to 255",
            remedy="save the mask as an 8-bit PNG",
            path=path,
        )
    levels = array.astype(np.int64)
    if not coloured:
        return levels * 0x010101
    if array.shape[-1] != 3:
        raise LabelError(
            f"{array.shape[-1]} channels", expected="red, green and blue, or grey", path=path
        )
    return np.asarray(levels @ np.array([0x10000, 0x100, 1]))


def _undeclared(
    codes: NDArray[np.int64], others: list[int], numbers: Mapping[str, int], path: Path
) -> LabelError:
    """Return the error for undeclared colours, the most frequent first."""
    masks = sorted((codes == code for code in others), key=lambda mask: -int(mask.sum()))
    texts = [
        f"#{int(codes[mask][0]):06x} ({mask.sum()} voxels, the first at {position(mask)})"
        for mask in masks[:_SHOWN]
    ]
    rest = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    declared = f"; declared are {', '.join(sorted(numbers))}" if numbers else ""
    return LabelError(
        f"undeclared colours {', '.join(texts)}{rest}{declared}",
        expected="declared colours only",
        remedy=_declaration([f"#{int(codes[mask][0]):06x}" for mask in masks])
        if not numbers and len(others) <= _MOST_CLASSES
        else f"declare them in dataset.json, {COLOUR_EXAMPLE}; save masks without compression",
        path=path,
    )


def _declaration(colours: Iterable[str]) -> str:
    """Return the lines of ``dataset.json`` that make every colour a class; black is background."""
    classes = [colour for colour in colours if colour != BLACK]
    pairs = [f'"background": "{BLACK}"'] * (len(classes) > 0)
    pairs += [f'"class_{number}": "{colour}"' for number, colour in enumerate(classes, start=1)]
    return (
        "write a file dataset.json into the folder of the data set, with your names for the "
        f'classes: {{"labels": {{{", ".join(pairs)}}}}}'
    )


def _listed(used: Mapping[int, str]) -> str:
    some = [f"{index} {colour}" for index, colour in sorted(used.items())[:_SHOWN]]
    return ", ".join(some + ["..."] * (len(used) > _SHOWN))
