"""Volumes as their slices, so that a 2-D network trains through the configs of 3-D ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.utils import convert_to_tensor
from torch import Tensor
from torch.utils.data import Dataset


class SliceDataset(Dataset[Any]):
    """Every slice along the last axis of every scan, as a dataset of 2-D items.

    Arrays ``(C, i, j, k)`` of an item become ``(C, i, j)``, the same slice of all of them; whatever
    else is in the item stays. Counting the slices reads every scan once, so ``dataset`` is best a
    MONAI ``CacheDataset``.

    Args:
        dataset: items with channel-first volumes.
        key: of the volume whose slices are counted.
    """

    def __init__(self, dataset: Any, key: str = "image") -> None:
        self.dataset = dataset
        self._ends = np.cumsum(
            [dataset[number][key].shape[-1] for number in range(len(dataset))], dtype=int
        )

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Slice ``position``, counted through all scans in their order."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        scan = int(np.searchsorted(self._ends, position, side="right"))
        place = position - int(self._ends[scan])  # from the scan's end: negative
        item = self.dataset[scan]
        return {name: _slice(value, place) for name, value in item.items()}


def _slice(value: Any, place: int) -> Any:
    """A slice of a volume without its geometry, which 2-D transforms would misread; anything else as it is."""
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 4:
        return convert_to_tensor(value[..., place], track_meta=False)
    return value
