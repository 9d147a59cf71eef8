"""Strategies that choose which scans to label first: a function each, found by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.split import seeded_order
from monai_semiseg.errors import ConfigError, did_you_mean
from monai_semiseg.labelling.clusters import (
    Array,
    Indices,
    allotted,
    farthest_first,
    k_means,
    k_medoids,
    natural_clusters,
    typicality,
)

_LEAST_CLUSTER = 5  # of Hacohen et al.: smaller ones are outliers
DEFAULT = "random"


@dataclass(frozen=True)
class Pool:
    """Scans to choose from, and those that have a label already.

    Attributes:
        ids: of the scans to choose from, sorted.
        features: ``(scans, numbers)``; near means alike.
        labelled: features of the scans that have a label, ``(labelled, numbers)``.
        difficulty: how badly each scan is restored from few numbers, ``(scans,)``.
        doubt: of a trained model about each scan, 0 to 1; None without a model.
    """

    ids: tuple[str, ...]
    features: Array
    labelled: Array
    difficulty: Array
    doubt: Array | None = None

    @cached_property
    def distances(self) -> Array:
        """Return the distance of every two scans."""
        from scipy.spatial.distance import cdist

        return np.asarray(cdist(self.features, self.features), np.float32)

    @cached_property
    def covered(self) -> Array:
        """Return the distance of every scan to the nearest labelled one; infinite without any."""
        from scipy.spatial.distance import cdist

        if not len(self.labelled):
            return np.full(len(self.ids), np.inf)
        return np.asarray(cdist(self.features, self.labelled).min(1))

    def take(self, indices: Sequence[int], labelled: Sequence[int] = ()) -> Pool:
        """Return the pool of some scans.

        Args:
            indices: scans to choose from.
            labelled: scans that count as labelled from now on.
        """
        kept = list(indices)
        return replace(
            self,
            ids=tuple(self.ids[index] for index in kept),
            features=self.features[kept],
            labelled=np.concatenate([self.labelled, self.features[list(labelled)]]),
            difficulty=self.difficulty[kept],
            doubt=None if self.doubt is None else self.doubt[kept],
        )


@dataclass(frozen=True)
class Pick:
    """A scan that was chosen.

    Attributes:
        index: in the pool.
        score: why, as the strategy measures it; None if it measures nothing.
    """

    index: int
    score: float | None = None


class Strategy(Protocol):
    """Choose scans of a pool."""

    def __call__(self, pool: Pool, count: int, seed: int) -> list[Pick]:
        """Return the picks in order, first to label first.

        Args:
            pool: of at least ``count`` scans.
            count: scans to choose.
            seed: of all that is random.
        """
        ...


def random(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Choose at random: those that ``split`` would label with the same seed."""
    order = seeded_order(pool.ids, salt=f"labelled/{seed}")
    return [Pick(pool.ids.index(name)) for name in order[:count]]


def kmedoids(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Choose the scans that all others are nearest to; the score is the mean distance to them."""
    chosen = k_medoids(pool.distances, count, pool.covered)
    followers = pool.distances[:, chosen].argmin(1)
    followers[chosen] = np.arange(len(chosen))  # each stands for itself, also of equal scans
    spread = [float(pool.distances[followers == n, index].mean()) for n, index in enumerate(chosen)]
    return [Pick(index, value) for index, value in zip(chosen, spread, strict=True)]


def proportional(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Choose the medoid of every natural cluster, then farthest-first within, as many as its share.

    Levy Bar Assayag et al. (arXiv 2601.18532). The score is the distance to those before it.
    """
    everything = np.concatenate([pool.features, pool.labelled])
    clusters = natural_clusters(everything, seed)
    groups = _by_size(clusters[: len(pool.ids)])
    labelled = clusters[len(pool.ids) :]
    labels = [int((labelled == clusters[group[0]]).sum()) for group in groups]
    shares = allotted([len(group) for group in groups], labels, count)
    found: list[tuple[int, Pick]] = []
    for group, share, held in zip(groups, shares, labels, strict=True):
        near = pool.distances[np.ix_(group, group)]
        covered = pool.covered[group] if held else np.full(len(group), np.inf)
        picks = farthest_first(near, share, covered)
        for place, (at, value) in enumerate(picks):
            score = float(near[at].mean()) if np.isinf(value) else value
            found.append((place, Pick(int(group[at]), score)))
    return [pick for _, pick in sorted(found, key=lambda one: one[0])]


def typiclust(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Choose the most typical scan of every cluster, largest clusters without a label first.

    Hacohen et al., Active learning on a budget (ICML 2022). The score is the typicality.
    """
    return _best_of_clusters(pool, count, seed, lambda group: typicality(pool.features[group]))


def cscs(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Choose the scan of every cluster with the best mix of typicality and difficulty.

    After CSCS (arXiv 2606.20765), with ranks from 0 to 1 within the pool::

        s = typicality^(1 - w) difficulty^w,     w = m / (m + sqrt(n)) / 2

    for m labels among n scans: typical scans while labels are few, difficult ones later. The
    difficulty is that of restoring a scan from few principal components; the paper takes a network
    for this, and another formula for w. The score is s.
    """
    from scipy.stats import rankdata

    labels = count + len(pool.labelled)
    scans = len(pool.ids) + len(pool.labelled)
    w = labels / (labels + np.sqrt(scans)) / 2
    typical, difficult = (
        rankdata(values) / len(pool.ids) for values in (typicality(pool.features), pool.difficulty)
    )
    score = typical ** (1 - w) * difficult**w
    return _best_of_clusters(pool, count, seed, lambda group: score[group])


def farthest(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Choose the scan farthest from those before it (k-center); the score is this distance."""
    picks = farthest_first(pool.distances, count, pool.covered)
    return [Pick(index, None if np.isinf(value) else value) for index, value in picks]


def doubtful(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Choose by doubt times distance to those before it; the score is this product, 0 to 1.

    A distance counts in shares of the median one between two scans, and as 1 beyond it: otherwise
    this would choose the scans that are like no other, whatever the model doubts.

    Raises:
        ConfigError: If the pool has no doubt.
    """
    if pool.doubt is None:
        raise _no_model()
    usual = _usual_distance(pool.distances)
    near = np.minimum(pool.distances / usual, 1)
    covered = np.where(np.isinf(pool.covered), np.inf, np.minimum(pool.covered / usual, 1))
    picks = farthest_first(near, count, covered, pool.doubt)
    # Nothing is before the first one: its doubt alone.
    return [
        Pick(index, float(pool.doubt[index]) if np.isinf(value) else value)
        for index, value in picks
    ]


def _usual_distance(distances: Array) -> float:
    """Return the median distance of two scans; 1 if there is none above 0."""
    pairs = distances[np.triu_indices(len(distances), 1)]
    return float(np.median(pairs)) or 1.0 if len(pairs) else 1.0


UNCERTAINTY, DISAGREEMENT = "uncertainty", "disagreement"
COLD: dict[str, Strategy] = {
    DEFAULT: random,
    "kmedoids": kmedoids,
    "proportional": proportional,
    "typiclust": typiclust,
    "cscs": cscs,
    "farthest_first": farthest,
}
STRATEGIES: dict[str, Strategy] = {**COLD, UNCERTAINTY: doubtful, DISAGREEMENT: doubtful}


def strategy_named(name: str, *, has_model: bool = True) -> Strategy:
    """Return a strategy.

    Args:
        name: a key of :data:`STRATEGIES`.
        has_model: whether there is a trained model to ask.

    Raises:
        ConfigError: If there is none of this name, or it asks a model and there is none.
    """
    if name in STRATEGIES:
        if not has_model and name not in COLD:
            raise _no_model()
        return STRATEGIES[name]
    raise ConfigError(
        f"no strategy {name!r}",
        expected=f"one of {', '.join(STRATEGIES)}",
        remedy=did_you_mean(name, STRATEGIES),
    )


def _no_model() -> ConfigError:
    return ConfigError(
        "a strategy that needs a trained model, and no model is given",
        expected=f"--weights FOLDER of a training, or one of {', '.join(COLD)}",
    )


class _Score(Protocol):
    def __call__(self, group: Indices) -> Array: ...


def _best_of_clusters(pool: Pool, count: int, seed: int, score_of: _Score) -> list[Pick]:
    """Choose the best scan of every k-means cluster, as TypiClust does.

    There are as many clusters as labels there will be. Those with the fewest labels come first, of
    these the largest. Clusters of fewer than five scans are passed over while others have any.
    """
    everything = np.concatenate([pool.features, pool.labelled])
    clusters = k_means(everything, count + len(pool.labelled), seed)
    groups = _by_size(clusters[: len(pool.ids)])
    labelled = clusters[len(pool.ids) :]
    labels = [int((labelled == clusters[group[0]]).sum()) for group in groups]
    best = [list(_descending(group, score_of(group))) for group in groups]
    picks: list[Pick] = []
    while len(picks) < count:
        open_ones = [n for n, rest in enumerate(best) if rest]
        large = [n for n in open_ones if len(groups[n]) >= _LEAST_CLUSTER] or open_ones
        at = min(large, key=lambda n: (labels[n], n))
        picks.append(best[at].pop(0))
        labels[at] += 1
    return picks


def _by_size(clusters: Indices) -> list[NDArray[np.intp]]:
    """Return the members of every cluster, the largest first."""
    groups = [np.flatnonzero(clusters == name) for name in np.unique(clusters)]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def _descending(group: Indices, scores: Array) -> list[Pick]:
    order = np.argsort(-np.asarray(scores), kind="stable")
    return [Pick(int(group[n]), float(scores[n])) for n in order]
