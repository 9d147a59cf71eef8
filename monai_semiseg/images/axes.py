"""Axes of an image file: three of space, and perhaps one of channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import DimensionError
from monai_semiseg.images.volume import RGB, warn


def spatial_and_channels(
    shape: Sequence[int],
    path: Path,
    channels: Sequence[str] = (),
    *,
    vector: bool = False,
    times: bool = False,
) -> tuple[tuple[int, int, int], int]:
    """Return the spatial shape, and the length of the channel axis, 0 if there is none.

    A 2-D image gets a third axis of one voxel. A fourth axis holds channels only if somebody says
    so: the file, or the data set by its ``channels``.

    Args:
        shape: shape in the file.
        path: the file, for the error.
        channels: names of the channels that the data set declares.
        vector: whether the file says that the axis behind space holds the parts of one value.
        times: whether the file says that the fourth axis is time.

    Raises:
        DimensionError: If the file holds anything but one image.
    """
    kept = list(shape)
    while len(kept) > 3 and kept[-1] == 1:
        kept.pop()
    if len(kept) == 5 and kept[3] == 1:  # where NIfTI puts the parts of a vector
        del kept[3]
    text = "x".join(map(str, shape))
    if len(kept) < 2:
        raise DimensionError(f"{len(kept)}-D, shape {text}", expected="2-D or 3-D", path=path)
    if min(kept) < 1:
        raise DimensionError(f"empty, shape {text}", expected="at least one voxel", path=path)
    if len(kept) <= 3:
        return (kept[0], kept[1], (*kept, 1)[2]), 0
    if len(kept) == 4 and (vector or len(channels) == kept[3]):
        return (kept[0], kept[1], kept[2]), kept[3]
    what = f"{kept[3]} {'time points' if times else 'volumes'}"
    declared = f"; {len(channels)} channels are declared" if len(channels) > 1 else ""
    raise DimensionError(
        f"{len(kept)}-D, {what}, shape {text}{declared}",
        expected="one 2-D or 3-D image",
        remedy="extract one volume into a file of its own"
        + (", or declare channel_names if they are channels" if len(kept) == 4 else ""),
        path=path,
    )


def component_names(count: int, dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Return names of the parts of a vector: colours if they are three bytes, else numbers."""
    if count == len(RGB) and dtype == np.uint8:
        return RGB
    return tuple(str(number) for number in range(count))


def without_alpha(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Drop the last channel, the opacity, with a remark if anything is not opaque."""
    note_alpha(int((values[..., -1] != np.iinfo(values.dtype).max).sum()), path)
    return values[..., :-1]


def note_alpha(count: int, path: Path) -> None:
    """Remark that pixels are not opaque, if there are any."""
    if count:
        warn(path, "W_ALPHA", f"{count} pixels are not opaque; transparency is dropped")
