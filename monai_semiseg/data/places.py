"""Where the voxels of a scan went, so that what is known of the whole scan can be looked up after random transforms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset


class PlacedDataset(Dataset[Any]):
    """A dataset whose items know their number and where each of their voxels is.

    Adds ``scan``, the position in the dataset, and ``place``, ``(d + 1, spatial...)``, float32: the centre of every
    voxel as a share of the array's extent, ``(i + 0.5) / n``, and a last channel of ones. Put through the same random
    transforms as the image, with linear interpolation and zeros beyond the edge, the last channel stays the weight of
    what was interpolated (homogeneous coordinates), so :func:`at_places` is right up to the edge.

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
        return {**item, "scan": position, "place": places(item[self.key].shape[1:])}


def places(shape: tuple[int, ...]) -> Tensor:
    """Homogeneous coordinates of every voxel of an array, ``(d + 1, spatial...)``; see :class:`PlacedDataset`."""
    axes = torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in shape), indexing="ij")
    return torch.stack([*axes, torch.ones(*shape)])


def at_places(volume: Tensor, place: Tensor) -> Tensor:
    """What a volume has at the given places, by linear interpolation; 0 beyond its edge.

    Args:
        volume: ``(C, spatial...)``, 2-D or 3-D.
        place: ``(d + 1, other spatial...)``, from :class:`PlacedDataset`, moved as an image was.

    Returns:
        ``(C, other spatial...)``, float32, on the device of ``place``.
    """
    weight = place[-1:]
    inside = weight > 0.5
    shares = place[:-1] / torch.where(inside, weight, torch.ones_like(weight))
    grid = (2 * shares - 1).flip(0).movedim(0, -1)  # grid_sample names the last axis first
    found = functional.grid_sample(volume[None].to(place.device, torch.float32), grid[None].float(),
                                   mode="bilinear", padding_mode="border", align_corners=False)  # fmt: skip
    return found[0] * inside
