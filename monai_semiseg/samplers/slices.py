"""Slices of 3-D scans for 2-D networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.utils import convert_to_tensor
from torch import Tensor
from torch.utils.data import Dataset


class SliceDataset(Dataset[Any]):
    """A dataset of 2-D items: every slice along one axis of every scan.

    Arrays ``(C, i, j, k)`` of an item become ``(C, i, j)`` if the axis is the last one, the same
    slice of all of them; other values of the item stay. A 2-D image ``(C, i, j)`` is a slice
    itself. Counting the slices reads every scan once, so ``dataset`` should be a MONAI
    ``CacheDataset``.

    Args:
        dataset: items with channel-first volumes.
        axis: axis of the slices among the three of a scan: 0 sagittal, 1 coronal, 2 axial in RAS.
        key: key of the volume whose slices are counted.
    """

    def __init__(self, dataset: Any, axis: int = 2, key: str = "image") -> None:
        self.dataset = dataset
        self.axis = axis
        self._ends = np.cumsum(
            [_slices(dataset[number][key], axis) for number in range(len(dataset))], dtype=int
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
        return {name: self._slice(value, offset) for name, value in item.items()}

    def _slice(self, value: Any, offset: int) -> Any:
        """Return a slice of a volume, without metadata of 3-D geometry; other values unchanged."""
        if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 4:
            index = [slice(None)] * 4
            index[self.axis + 1] = offset  # type: ignore[call-overload]
            return convert_to_tensor(value[tuple(index)], track_meta=False)
        return value


def _slices(volume: Any, axis: int) -> int:
    return int(volume.shape[axis + 1]) if volume.ndim == 4 else 1
