"""Where the voxels of a scan went, so that what is known of the whole scan can be looked up after random transforms."""

from __future__ import annotations

from typing import Any

import torch
from monai.transforms import Resample
from monai.transforms.utils import create_grid
from torch import Tensor
from torch.utils.data import Dataset


class CoordinateDataset(Dataset[Any]):
    """A dataset whose items know their number and where each of their voxels is.

    Adds ``scan``, the position in the dataset, and ``place``, ``(d + 1, spatial...)``, float32:
    MONAI's homogeneous grid, the coordinates of every voxel from the middle of the array, and a
    last channel of ones. Put through the same random transforms as the image, with linear
    interpolation and zeros beyond the edge, the last channel stays the weight of what was
    interpolated, so :func:`sample_at` is right up to the edge.

    Args:
        dataset: items with a channel-first array of d dimensions under ``key``.
        key: see above.
    """

    def __init__(self, dataset: Any, key: str = "image") -> None:
        self.dataset, self.key = dataset, key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Item ``position``, with its number and its places."""
        item = self.dataset[position]
        return {
            **item,
            "scan": position,
            "place": create_grid(item[self.key].shape[1:], dtype=torch.float32, backend="torch"),
        }


def sample_at(volume: Tensor, place: Tensor) -> Tensor:
    """What a volume has at the given places, by linear interpolation; 0 beyond its edge.

    Args:
        volume: ``(C, spatial...)``, 2-D or 3-D.
        place: ``(d + 1, other spatial...)``, from :class:`CoordinateDataset`, moved as an image
            was.

    Returns:
        ``(C, other spatial...)``, float32, on the device of ``place``.
    """
    weight = place[-1:]
    inside = weight > 0.5
    grid = place[:-1] / torch.where(inside, weight, torch.ones_like(weight))
    found = Resample(dtype=torch.float32)(volume.to(place.device), grid=grid)
    return torch.as_tensor(found) * inside
