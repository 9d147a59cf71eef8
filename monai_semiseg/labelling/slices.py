"""Slices that a labeller has looked at: how a person writes them, and which voxels they are."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from monai_semiseg.errors import LabelError
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.volume import spatial_dims_of

_RANGE = re.compile(r"(?P<first>\d+)(?:\s*(?:-|–|\.\.|to)\s*(?P<last>\d+))?")
_EXAMPLE = "all, or numbers from 1 such as '10 to 24; 30'"
_ALIKE = 1.1  # ratio of voxel sizes that count as equal
_ENDS = (("left", "right"), ("back", "front"), ("bottom", "top"))


def slice_axis(grid: Grid) -> int:
    """Return the axis across the slices of an image: the last one, or that of thicker slices."""
    sizes = voxel_sizes(grid.affine)
    return int(np.flatnonzero(sizes >= sizes.max() / _ALIKE)[-1])


def slice_order(grid: Grid) -> str:
    """Describe how the slices of an image are counted; empty for an image of one slice."""
    if spatial_dims_of(grid.shape) == 2:
        return ""
    axis = slice_axis(grid)
    count = grid.shape[axis]
    if grid.unit == "px":
        return f"1 to {count} in the order of the file"
    last = nib.aff2axcodes(grid.affine, _ENDS)[axis]
    first = nib.aff2axcodes(grid.affine, [ends[::-1] for ends in _ENDS])[axis]
    return f"1 ({first}) to {count} ({last})"


def looked_at(text: str, grid: Grid, path: str = "") -> NDArray[np.bool_] | None:
    """Return the voxels of the slices that somebody has looked at; None if the text says nothing.

    Args:
        text: ``all``, or numbers of slices from 1 and ranges of them, such as ``10 to 24; 30``.
            ``10-24`` and ``10..24`` are read as well.
        grid: of the image.
        path: name of the table, for the error.

    Returns:
        Mask that can be broadcast to the image's shape ``(i, j, k)``.

    Raises:
        LabelError: If the text is something else, or names a slice that the image has not.
    """
    words = [word.strip() for word in re.split(r"[,;]", text.strip().lower()) if word.strip()]
    if not words:
        return None
    axis = slice_axis(grid)
    count = grid.shape[axis]
    seen = np.zeros(count, dtype=bool)
    for word in words:
        first, last = (1, count) if word == "all" else _range(word, text, path)
        if not 1 <= first <= last <= count:
            raise LabelError(
                f"slices {text!r}", expected=f"slices from 1 to {count}: {_EXAMPLE}", path=path
            )
        seen[first - 1 : last] = True
    return np.expand_dims(seen, [other for other in range(3) if other != axis])


def _range(word: str, text: str, path: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(word)
    if found is None:
        raise LabelError(
            f"slices {text!r}",
            expected=_EXAMPLE,
            remedy="a spreadsheet may have made a date of 1-20; write 1 to 20",
            path=path,
        )
    return int(found["first"]), int(found["last"] or found["first"])
