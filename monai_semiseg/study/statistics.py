"""Statistics of a study: paired comparison of arms, and the labels that a Dice needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_semiseg.evaluation.bootstrap import (
    Array,
    bootstrap_interval,
    bootstrap_means,
    interval_of,
)


@dataclass(frozen=True)
class Comparison:
    """An arm against the reference, case by case.

    Attributes:
        difference: mean of arm minus reference over splits and cases.
        interval: 95 % bootstrap interval over splits and, on their own, cases or groups.
        p: two-sided Wilcoxon signed-rank p over cases, averaged over splits: it knows neither
            splits nor groups.
        wins: share of cases where the arm is better, averaged over splits.
    """

    difference: float
    interval: tuple[float, float]
    p: float
    wins: float

    def as_text(self) -> str:
        """Return the difference with its interval."""
        low, high = self.interval
        return f"{self.difference:+.4f} [{low:+.4f}, {high:+.4f}]"


def compare(arm: Array, reference: Array, groups: Sequence[str] | None = None) -> Comparison:
    """Compare two arms on the same splits and cases.

    Args:
        arm: ``(splits, cases)``, averaged over training seeds, higher being better.
        reference: the same for the reference.
        groups: of every case; None if every case is one by itself.
    """
    from scipy.stats import wilcoxon

    differences = arm - reference
    per_case = differences.mean(0)
    p = 1.0 if not per_case.any() else float(wilcoxon(per_case).pvalue)
    interval = bootstrap_interval(differences, groups)
    return Comparison(float(differences.mean()), interval, p, float((per_case > 0).mean()))


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
        """Return the labels at which the fitted curve reaches a Dice.

        Infinity where it is so flat that no number can hold them.
        """
        try:
            return float((self.a / (1 - dice)) ** (1 / self.b))
        except OverflowError:
            return math.inf

    def dice_at(self, labels: float) -> float:
        """Return the Dice of the fitted curve at a number of labels."""
        return float(1 - self.a * labels**-self.b)


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
    labels: Sequence[int],
    scores: Sequence[Array],
    target: float,
    groups: Sequence[str] | None = None,
    *,
    min_r2: float = 0.9,
) -> tuple[float, tuple[float, float]] | None:
    """Estimate the labels that a Dice needs, with a 95 % bootstrap interval over splits and cases.

    A resample in which more labels do not help needs infinitely many.

    Args:
        labels: budgets.
        scores: Dice of every budget, ``(splits, cases)``; budgets may differ in their splits.
        target: the Dice to reach.
        groups: of every case, as in :func:`compare`.
        min_r2: least quality of the fit.

    Returns:
        None where the law does not fit the curve well enough, or the interval ends beyond ten times
        the largest budget, where nothing was measured.
    """
    law = fit_power_law(labels, [float(one.mean()) for one in scores])
    if law is None or law.r2 < min_r2 or not 0 < target < 1:
        return None
    fits = _resampled_fits(labels, scores, groups)
    needs = [math.inf if fit is None else fit.labels_for(target) for fit in fits]
    # Infinity as the largest number: bounds are interpolated, and infinities have no difference.
    interval = interval_of(np.nan_to_num(needs))
    return None if interval[1] > 10 * max(labels) else (law.labels_for(target), interval)


@dataclass(frozen=True)
class ExpectedGain:
    """Hold what further labels are expected to add to the largest budget.

    Attributes:
        labels: the largest budget.
        more: further labels.
        gain: expected difference in Dice.
        interval: of it, 95 %, over splits and cases.
    """

    labels: int
    more: int
    gain: float
    interval: tuple[float, float]


def expected_gain(
    labels: Sequence[int],
    scores: Sequence[Array],
    more: int,
    groups: Sequence[str] | None = None,
    *,
    min_r2: float = 0.9,
) -> ExpectedGain | None:
    """Estimate what further labels add, by the power law, with a 95 % bootstrap interval.

    With n the largest budget, ``gain = a n^(-b) - a (n + more)^(-b)``. A resample in which more
    labels do not help has a gain of 0.

    Args:
        labels: budgets.
        scores: Dice of every budget, as in :func:`labels_needed`.
        more: further labels, counted from the largest budget.
        groups: of every case.
        min_r2: least quality of the fit.

    Returns:
        None where the law does not fit the curve well enough, or ``more`` would double the labels,
        beyond which the curve is a guess.
    """
    law = fit_power_law(labels, [float(one.mean()) for one in scores])
    if law is None or law.r2 < min_r2 or not 0 < more <= max(labels):
        return None
    largest = max(labels)
    resampled = _resampled_fits(labels, scores, groups)
    gains = [0.0 if fit is None else _gain(fit, largest, more) for fit in resampled]
    interval = interval_of(np.asarray(gains))
    return ExpectedGain(largest, more, _gain(law, largest, more), interval)


def _gain(law: PowerLaw, labels: int, more: int) -> float:
    return law.dice_at(labels + more) - law.dice_at(labels)


def _resampled_fits(
    labels: Sequence[int], scores: Sequence[Array], groups: Sequence[str] | None
) -> list[PowerLaw | None]:
    """Return the curve of every bootstrap resample; None where there is none."""
    resampled = np.stack([bootstrap_means(one, groups, resamples=999) for one in scores], 1)
    return [fit_power_law(labels, list(means)) for means in resampled]
