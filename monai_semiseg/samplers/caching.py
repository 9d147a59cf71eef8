"""Cache of preprocessed images that never takes more memory than there is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from monai.data import CacheDataset

from monai_semiseg.storage.files import available_memory

logger = logging.getLogger(__name__)


class FittingCacheDataset(CacheDataset):
    """MONAI's ``CacheDataset``, which keeps only as many items as fit into the free memory.

    The other items are read again whenever they are asked for, and the log says how many these are.
    Items and their order are the same with and without them. Several data sets share the memory:
    each one sees what those before it have left.

    Args:
        *args: as for ``CacheDataset``.
        share: share of the memory that is free when the cache is filled, 0 to 1.
        **kwargs: as for ``CacheDataset``.
    """

    cache_num: int
    _hash_keys: list[Any]

    def __init__(self, *args: Any, share: float = 0.5, **kwargs: Any) -> None:
        self.share = share
        super().__init__(*args, **kwargs)

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list[Any]:
        """Fill the cache in parts as long as all before, so that no part surprises by its size."""
        wanted = list(range(self.cache_num) if indices is None else indices)
        budget = available_memory() * self.share
        count = self.num_workers or 1  # no thread has to wait for another
        cache: list[Any] = []
        used = largest = 0
        while len(cache) < len(wanted) and count > 0:
            part = super()._fill_cache(wanted[len(cache) : len(cache) + count])
            sizes = [_bytes(item) for item in part]
            cache += part
            used += sum(sizes)
            largest = max(largest, *sizes)
            fitting = (budget - used) // max(1, 2 * largest)  # the next ones may be twice as large
            count = min(len(cache), int(fitting))
        if len(cache) < len(wanted):
            self._say(len(cache), len(wanted), used)
        self.cache_num = len(cache)
        self._hash_keys = self._hash_keys[: len(cache)]
        return cache

    def _say(self, kept: int, wanted: int, used: float) -> None:
        logger.warning(
            "%d of %d images are kept in memory (%.1f GiB); the others are read every time",
            kept,
            wanted,
            used / 2**30,
        )


def _bytes(item: Any) -> int:
    """Return the bytes of the arrays in an item."""
    values = item.values() if isinstance(item, Mapping) else [item]
    return sum(int(getattr(value, "nbytes", 0)) for value in values)
