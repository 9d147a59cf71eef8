"""Training draws as a pure function of seed and position: the same on any number of workers, and resumable."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sized
from functools import lru_cache
from typing import Any

import numpy as np
from monai.data.utils import list_data_collate
from monai.transforms import Compose
from torch.utils.data import Dataset, Sampler

from monai_semiseg.errors import ConfigError


class SeededSamples(Dataset[Any]):
    """An endless, shuffled, augmented stream over a dataset, addressed by position.

    Draw ``p`` takes scan ``perm_e[p mod n]`` of the ``e = p div n``-th shuffled pass and seeds the
    random transforms with ``(seed, p)``. Nothing depends on what was drawn before, so a resumed run
    continues with exactly the draws that an uninterrupted one would have had, whatever the number
    of loader workers.

    Args:
        dataset: deterministic part, usually a MONAI ``CacheDataset``.
        transform: random transforms.
        seed: of the whole stream.
        section: of the datalist that the scans are from, for the message if there are none.
        view: streams that differ in this alone draw the same scans in the same order, transformed
            independently.
    """

    def __init__(
        self,
        dataset: Any,
        transform: Compose,
        seed: int = 0,
        section: str = "training",
        view: int = 0,
    ) -> None:
        if len(dataset) == 0:
            raise ConfigError(
                "no scans to train on",
                expected=f"at least one entry under {section} in the datalist",
            )
        self.dataset, self.transform, self.seed, self.view = dataset, transform, seed, view
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def __getitem__(self, position: int) -> Any:
        """Draw ``position``: a copy of one item of the dataset, augmented."""
        turn, place = divmod(position, len(self.dataset))
        item = copy.deepcopy(self.dataset[int(self._order(turn)[place])])
        self.transform.set_random_state(
            seed=int(_stream(self.seed, position, 1 + self.view).integers(2**31))
        )
        return self.transform(item)

    def __getstate__(self) -> dict[str, Any]:
        """Without the cache, which does not pickle; spawned loader workers need the rest."""
        return {key: value for key, value in self.__dict__.items() if key != "_order"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def _shuffled(self, turn: int) -> Any:
        return _stream(self.seed, turn, 0).permutation(len(self.dataset))


class PairedSamples(Dataset[Any]):
    """Two draws at every position: a labelled and an unlabelled scan, or two views of one scan.

    Args:
        labelled: first stream, whose items are kept whole.
        unlabelled: second stream; a seed of its own keeps labelled and unlabelled apart, a ``view``
            of its own makes views of the same scan.
        views: name in the joint item -> key in the second stream's.
        unlabelled_batch_size: draws of the second stream in a batch, whatever the batch size of the
            first; needs :func:`collate_by_key`. As many as of the first if None.
    """

    def __init__(
        self,
        labelled: Dataset[Any],
        unlabelled: Dataset[Any],
        views: Mapping[str, str],
        unlabelled_batch_size: int | None = None,
    ) -> None:
        if unlabelled_batch_size is not None and unlabelled_batch_size < 1:
            raise ConfigError(
                f"unlabelled_batch_size {unlabelled_batch_size}", expected="at least 1"
            )
        self.labelled, self.unlabelled, self.views = labelled, unlabelled, dict(views)
        self.unlabelled_batch_size = unlabelled_batch_size

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Draw ``position`` of both streams, as one item."""
        return {**self.labelled[position], **self._free(position)}

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """A batch: both streams' draws as joint items, or one after the other if the streams' batches differ."""
        if self.unlabelled_batch_size is None:
            return [self[position] for position in positions]
        first = positions[0] // len(positions) * self.unlabelled_batch_size
        free = [self._free(first + n) for n in range(self.unlabelled_batch_size)]
        return [*(self.labelled[position] for position in positions), *free]

    def _free(self, position: int) -> dict[str, Any]:
        item = self.unlabelled[position]
        return {view: item[key] for view, key in self.views.items()}


def collate_by_key(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack every key over those items that have it, so that streams can differ in their batch sizes."""
    keys = dict.fromkeys(key for item in items for key in item)
    return {key: list_data_collate([item[key] for item in items if key in item]) for key in keys}


def _stream(seed: int, index: int, kind: int) -> np.random.Generator:
    return np.random.default_rng([seed, index, kind])


class BudgetSampler(Sampler[int], Sized):
    """Positions of :class:`SeededSamples` for a budget of iterations, from ``iteration`` on.

    With several processes, each takes its own slice of every joint batch.

    Args:
        iterations: optimiser steps of the whole training.
        batch_size: scans per step and process.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self, iterations: int, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if iterations < 1 or batch_size < 1:
            raise ConfigError(
                f"iterations {iterations}, batch_size {batch_size}", expected="both at least 1"
            )
        self.iterations, self.batch_size = iterations, batch_size
        self.rank, self.world_size = rank, world_size
        self.iteration = 0  # where to start; a resumed training sets it

    def __iter__(self) -> Iterator[int]:
        """Yield ``batch_size`` consecutive positions for every remaining iteration."""
        for iteration in range(self.iteration, self.iterations):
            first = (iteration * self.world_size + self.rank) * self.batch_size
            yield from range(first, first + self.batch_size)

    def __len__(self) -> int:
        return (self.iterations - self.iteration) * self.batch_size
