"""Slices of volumes, so that a 2-D network can use the configs of 3-D ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.utils import convert_to_tensor
from torch import Tensor
from torch.utils.data import Dataset


class SliceDataset(Dataset[Any]):
    """A dataset of 2-D items: every slice along the last axis of every scan.

    Arrays ``(C, i, j, k)`` of an item become ``(C, i, j)``, the same slice of all of them; other
    values of the item stay. Counting the slices reads every scan once, so ``dataset`` should be a
    MONAI ``CacheDataset``.

    Args:
        dataset: items with channel-first volumes.
        key: key of the volume whose slices are counted.
    """

    def __init__(self, dataset: Any, key: str = "image") -> None:
        self.dataset = dataset
        self._ends = np.cumsum(
            [dataset[number][key].shape[-1] for number in range(len(dataset))], dtype=int
        )

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return slice ``position``, counted over all scans in their order."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        scan = int(np.searchsorted(self._ends, position, side="right"))
        offset = position - int(self._ends[scan])  # from the scan's end: negative
        item = self.dataset[scan]
        return {name: _slice(value, offset) for name, value in item.items()}


def _slice(value: Any, offset: int) -> Any:
    """Return a slice of a volume, without metadata of 3-D geometry; other values unchanged."""
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 4:
        return convert_to_tensor(value[..., offset], track_meta=False)
    return value
