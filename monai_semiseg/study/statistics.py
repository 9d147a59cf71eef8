"""Statistics of a study: paired comparison of arms, and the labels that a Dice needs."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """An arm against the reference, case by case.

    Attributes:
        difference: mean of arm minus reference over cases.
        interval: 95 % bootstrap interval over cases.
        p: two-sided Wilcoxon signed-rank p.
        wins: share of cases where the arm is better.
    """

    difference: float
    interval: tuple[float, float]
    p: float
    wins: float


def bootstrap_means(values: Array, *, resamples: int = 9999, seed: int = 0) -> Array:
    """Return means of resampled cases (Efron 1979), which are drawn with replacement.

    All columns of a case are drawn together, so differences between columns stay paired.

    Args:
        values: ``(cases, ...)``.
        resamples: their number.
        seed: of the draws.

    Returns:
        ``(resamples, ...)``.
    """
    return np.asarray(np.tensordot(_shares(len(values), resamples, seed), values, 1))


@functools.lru_cache(maxsize=2)  # every pair of arms is resampled alike
def _shares(cases: int, resamples: int, seed: int) -> Array:
    """Return the share of every case in every resample: ``(resamples, cases)``."""
    draws = np.random.default_rng(seed).integers(0, cases, (resamples, cases))
    return np.apply_along_axis(np.bincount, 1, draws, minlength=cases) / cases


def interval_of(means: Array, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap means."""
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def compare(arm: Array, reference: Array) -> Comparison:
    """Compare two arms on the same cases.

    Args:
        arm: one value per case (averaged over seeds), higher being better.
        reference: the same for the reference.
    """
    from scipy.stats import wilcoxon

    difference = arm - reference
    p = 1.0 if not difference.any() else float(wilcoxon(difference).pvalue)
    interval = (math.nan, math.nan)
    if len(difference) > 1:
        interval = interval_of(bootstrap_means(difference))
    return Comparison(float(difference.mean()), interval, p, float((difference > 0).mean()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number m, step down (Holm 1979).

    The i-th smallest becomes ``max_{j <= i} min(1, (m - j + 1) p_(j))``.
    """
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[int(index)] = highest
    return corrected


@dataclass(frozen=True)
class PowerLaw:
    """``1 - Dice = a n^(-b)``, fitted as a line through the logarithms.

    Attributes:
        a: error at one label.
        b: exponent of its decrease.
        r2: share of the variance of the logarithms that the line explains.
    """

    a: float
    b: float
    r2: float

    def labels_for(self, dice: float) -> float:
        """Return the labels at which the fitted curve reaches a Dice."""
        return float((self.a / (1 - dice)) ** (1 / self.b))


def fit_power_law(labels: Sequence[int], dice: Sequence[float]) -> PowerLaw | None:
    """Fit the curve; None with fewer than three budgets, or where more labels do not help."""
    if len(set(labels)) < 3 or not all(0 < value < 1 for value in dice):
        return None
    x = np.log(np.asarray(labels, dtype=np.float64))
    y = np.log1p(-np.asarray(dice, dtype=np.float64))
    slope, level = np.polyfit(x, y, 1)
    spread = float(((y - y.mean()) ** 2).sum())
    if slope >= 0 or spread == 0:
        return None
    residual = float(((y - level - slope * x) ** 2).sum())
    return PowerLaw(float(np.exp(level)), float(-slope), 1 - residual / spread)


def labels_needed(
    labels: Sequence[int], cases: Array, target: float, *, min_r2: float = 0.9
) -> tuple[float, tuple[float, float]] | None:
    """Estimate the labels that a Dice needs, with a 95 % bootstrap interval over cases.

    Args:
        labels: budgets, one per column.
        cases: Dice, ``(cases, budgets)``.
        target: the Dice to reach.
        min_r2: least quality of the fit.

    Returns:
        None where the law does not fit the curve well enough, or the interval ends beyond ten times
        the largest budget, where nothing was measured.
    """
    law = fit_power_law(labels, list(cases.mean(0)))
    if law is None or law.r2 < min_r2 or not 0 < target < 1:
        return None
    fits = [fit_power_law(labels, list(means)) for means in bootstrap_means(cases, resamples=999)]
    needs = [fit.labels_for(target) for fit in fits if fit is not None]
    interval = interval_of(np.asarray(needs))
    return None if interval[1] > 10 * max(labels) else (law.labels_for(target), interval)
