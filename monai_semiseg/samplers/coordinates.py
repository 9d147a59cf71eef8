"""Voxel coordinates that follow random transforms, to sample whole-scan values afterwards."""

from __future__ import annotations

from typing import Any

import torch
from monai.transforms import Resample
from monai.transforms.utils import create_grid
from torch import Tensor
from torch.utils.data import Dataset


class CoordinateDataset(Dataset[Any]):
    """A dataset whose items have their index and the coordinates of their voxels.

    Adds ``index``, the position in the dataset, and ``coordinates``, ``(d + 1, spatial...)``,
    float32. They are MONAI's homogeneous grid: the coordinates of every voxel from the centre of
    the array, and a last channel of ones. Apply the same random transforms to them as to the image,
    with linear interpolation and zero padding. The last channel is then the weight of what was
    interpolated, so :func:`sample_at` is right up to the edge.

    Args:
        dataset: items with a channel-first array of d dimensions under ``key``.
        key: key of that array.
    """

    def __init__(self, dataset: Any, key: str = "image") -> None:
        self.dataset = dataset
        self.key = key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return item ``position``, with its index and coordinates."""
        item = self.dataset[position]
        return {
            **item,
            "index": position,
            "coordinates": create_grid(
                item[self.key].shape[1:], dtype=torch.float32, backend="torch"
            ),
        }


def sample_at(volume: Tensor, coordinates: Tensor) -> Tensor:
    """Sample a volume at coordinates by linear interpolation; the value is 0 outside of it.

    Args:
        volume: ``(C, spatial...)``, 2-D or 3-D.
        coordinates: ``(d + 1, other spatial...)``, from :class:`CoordinateDataset`, after the
            transforms of the image.

    Returns:
        ``(C, other spatial...)``, float32, on the device of ``coordinates``.
    """
    weight = coordinates[-1:]
    inside = weight > 0.5
    grid = coordinates[:-1] / torch.where(inside, weight, torch.ones_like(weight))
    sampled = Resample(dtype=torch.float32)(volume.to(coordinates.device), grid=grid)
    return torch.as_tensor(sampled) * inside
