"""Strided grids and blocks of a map, on which voxel-wise losses are computed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_semiseg.errors import ConfigError


def random_origin(shape: Sequence[int], stride: int) -> list[int]:
    """Draw the origin of a grid of every ``stride``-th voxel.

    The CPU's generator is used, because checkpoints store its state.

    Args:
        shape: spatial size of the map.
        stride: of the grid along every axis, voxels.

    Raises:
        ConfigError: If the stride is larger than the map.
    """
    if any(stride > size for size in shape):
        raise ConfigError(
            f"a stride of {stride} in a map of {tuple(shape)}", expected="a smaller stride"
        )
    return [0] * len(shape) if stride == 1 else torch.randint(stride, (len(shape),)).tolist()


def origin_through_foreground(labels: Tensor, origin: list[int], stride: int) -> list[int]:
    """Draw the origin of a grid through a foreground voxel.

    Args:
        labels: class indices, ``(B, 1, spatial...)``.
        origin: returned if there is no foreground.
        stride: of the grid, voxels.
    """
    voxels = (labels[:, 0] > 0).nonzero()[:, 1:]
    if not len(voxels):
        return origin
    voxel = voxels[int(torch.randint(len(voxels), ()))]
    return [int(index) % stride for index in voxel]


def strided(origin: Sequence[int], stride: int) -> tuple[slice, ...]:
    """Return the index of a grid in ``(B, C, spatial...)``."""
    return (slice(None), slice(None), *(slice(first, None, stride) for first in origin))


def blocks(shape: Sequence[int], side: int | None) -> list[tuple[slice, ...]]:
    """Return boxes that cover the map.

    The last box along an axis is moved back to fit, so that no border is dropped.

    Args:
        shape: spatial size of the map.
        side: of a box, voxels; None gives one box, the map.

    Raises:
        ConfigError: If a box is larger than the map.
    """
    if side is None:
        return [tuple(slice(None) for _ in shape)]
    if any(side > size for size in shape):
        raise ConfigError(
            f"blocks of {side} voxels in a map of {tuple(shape)}", expected="a block that fits"
        )
    axes = []
    for size in shape:
        starts = [*range(0, size - side, side), size - side]
        axes.append([slice(start, start + side) for start in starts])
    return list(itertools.product(*axes))
