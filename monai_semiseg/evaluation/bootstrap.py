"""Bootstrap intervals: over cases or patients, and over splits of the labelled scans."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draws = NDArray[np.int64]


def bootstrap_means(
    values: Array,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 9999,
    seed: int = 0,
) -> Array:
    """Return means of resampled scores (Efron 1979).

    A resample draws splits with replacement and, on its own, groups with replacement; its mean is
    over all cases of the drawn groups in all drawn splits. Splits and cases are crossed: every
    split has the same test cases. With one split it is over the groups alone.

    Draws depend on the seed and on the numbers of splits and groups alone, so that scores of
    several arms are resampled alike: differences stay paired.

    Args:
        values: ``(splits, cases)``.
        groups: of every case, such as its patient; None if every case is one by itself.
        resamples: their number.
        seed: of the draws.

    Returns:
        ``(resamples,)``.
    """
    sums, sizes = _group_sums(values, groups)
    drawn = _draws(sums.shape[1], resamples, seed)
    of_splits = _split_shares(len(values), resamples, seed) @ sums
    return np.asarray(np.take_along_axis(of_splits, drawn, 1).sum(1) / sizes[drawn].sum(1))


def group_key(case: str, group: str) -> str:
    """Return what identifies a case's group; a case without one is a group by itself."""
    return f"group {group}" if group else f"case {case}"


def _group_sums(values: Array, groups: Sequence[str] | None) -> tuple[Array, Array]:
    """Return sums ``(splits, groups)`` and the number of cases in every group."""
    if groups is None:
        return np.asarray(values, np.float64), np.ones(values.shape[1])
    number = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    member = np.zeros((values.shape[1], len(number)))
    member[np.arange(values.shape[1]), [number[group] for group in groups]] = 1
    return values @ member, member.sum(0)


@functools.lru_cache(maxsize=4)  # every pair of arms is resampled alike
def _draws(count: int, resamples: int, seed: int) -> Draws:
    return np.random.default_rng(seed).integers(0, count, (resamples, count))


@functools.lru_cache(maxsize=4)
def _split_shares(splits: int, resamples: int, seed: int) -> Array:
    """Return the share of every split in every resample: ``(resamples, splits)``."""
    drawn = np.random.default_rng([seed, 1]).integers(0, splits, (resamples, splits))
    shares = np.zeros((resamples, splits))
    np.add.at(shares, (np.arange(resamples)[:, None], drawn), 1 / splits)
    return shares


def interval_of(means: Array, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap means."""
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def bootstrap_interval(
    values: Array, groups: Sequence[str] | None = None, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean; NaN for fewer than two cases or groups.

    Args:
        values: ``(splits, cases)``.
        groups: as in :func:`bootstrap_means`.
        level: of the interval.
        seed: of the draws.
    """
    if (values.shape[1] if groups is None else len(set(groups))) < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values.flat[0]), float(values.flat[0])
    return interval_of(bootstrap_means(values, groups, seed=seed), level)
