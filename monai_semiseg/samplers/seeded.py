"""Training samples as a function of seed and position alone, for any number of workers."""

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
    """An endless, shuffled, augmented stream of samples from a dataset, addressed by position.

    Sample ``p`` takes scan ``perm_e[p mod n]`` of the ``e = p div n``-th epoch and seeds the random
    transforms with ``(seed, p)``. No sample depends on earlier ones, so a resumed run continues
    with exactly the samples of an uninterrupted one, with any number of loader workers.

    Args:
        dataset: scans after the deterministic transforms, usually a
            :class:`~monai_semiseg.samplers.caching.FittingCacheDataset`.
        transform: random transforms.
        seed: seed of the whole stream.
        section: section of the datalist that the scans are from, for the error if there are none.
        view: streams that differ in this alone take the same scans in the same order, with
            independent random transforms.
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
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self.view = view
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def __getitem__(self, position: int) -> Any:
        """Return sample ``position``: a copy of one item of the dataset, augmented."""
        epoch, offset = divmod(position, len(self.dataset))
        item = copy.deepcopy(self.dataset[int(self._order(epoch)[offset])])
        self.transform.set_random_state(
            seed=int(_stream(self.seed, position, 1 + self.view).integers(2**31))
        )
        return self.transform(item)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the cache, which cannot be pickled for spawned workers."""
        return {key: value for key, value in self.__dict__.items() if key != "_order"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def _shuffled(self, epoch: int) -> Any:
        return _stream(self.seed, epoch, 0).permutation(len(self.dataset))


class PairedSamples(Dataset[Any]):
    """Two samples at every position: a labelled and an unlabelled scan, or two views of one scan.

    Args:
        labelled: first stream, whose items are kept complete.
        unlabelled: second stream. With another seed it takes other scans, with the same seed and
            another ``view`` it gives views of the same scans.
        views: key in the joint item -> key in the second stream's item.
        unlabelled_batch_size: samples of the second stream in a batch, whatever the batch size of
            the first; needs :func:`collate_by_key`. If None, as many as of the first.
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
        self.labelled = labelled
        self.unlabelled = unlabelled
        self.views = dict(views)
        self.unlabelled_batch_size = unlabelled_batch_size

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return sample ``position`` of both streams, as one item."""
        return {**self.labelled[position], **self._unlabelled_sample(position)}

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """Return a batch: joint items, or labelled then unlabelled ones if their sizes differ."""
        if self.unlabelled_batch_size is None:
            return [self[position] for position in positions]
        first = positions[0] // len(positions) * self.unlabelled_batch_size
        unlabelled = [self._unlabelled_sample(first + n) for n in range(self.unlabelled_batch_size)]
        return [*(self.labelled[position] for position in positions), *unlabelled]

    def _unlabelled_sample(self, position: int) -> dict[str, Any]:
        item = self.unlabelled[position]
        return {view: item[key] for view, key in self.views.items()}


def collate_by_key(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack every key over the items that have it, so that streams may differ in batch size."""
    keys: dict[str, None] = {}  # in the order of their first use
    for item in items:
        keys.update(dict.fromkeys(item))
    return {key: list_data_collate([item[key] for item in items if key in item]) for key in keys}


def _stream(seed: int, index: int, kind: int) -> np.random.Generator:
    return np.random.default_rng([seed, index, kind])


class BudgetSampler(Sampler[int], Sized):
    """Sampler of positions of :class:`SeededSamples` for a number of iterations.

    It starts at ``iteration``, which a resumed training sets.

    With several processes, each takes its own part of every joint batch.

    Args:
        iterations: optimiser steps of the whole training.
        batch_size: scans per step and process.
        rank: rank of this process.
        world_size: number of processes.
    """

    def __init__(
        self, iterations: int, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if iterations < 1 or batch_size < 1:
            raise ConfigError(
                f"iterations {iterations}, batch_size {batch_size}", expected="both at least 1"
            )
        self.iterations = iterations
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.iteration = 0

    def __iter__(self) -> Iterator[int]:
        """Yield ``batch_size`` consecutive positions for every remaining iteration."""
        for iteration in range(self.iteration, self.iterations):
            first = (iteration * self.world_size + self.rank) * self.batch_size
            yield from range(first, first + self.batch_size)

    def __len__(self) -> int:
        return (self.iterations - self.iteration) * self.batch_size
