"""Paired statistics against loops and scipy; the power law against known parameters."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from monai_semiseg.study.statistics import (
    compare,
    expected_gain,
    fit_power_law,
    holm,
    labels_needed,
)


def test_one_case_has_no_interval() -> None:
    one, two = np.array([[0.75, 0.5]]), np.array([[0.5, 0.5]])
    found = compare(one[:, :1], two[:, :1])
    assert (found.difference, found.wins) == (0.25, 1.0)
    assert np.isnan(found.interval).all()
    assert compare(one, two).interval == (0, 0.25)


@pytest.mark.parametrize("shift", [0.0, 0.02, -0.05])
def test_comparison(shift: float) -> None:
    rng = np.random.default_rng(1)
    reference = rng.uniform(0.6, 0.9, 40)
    arm = reference + shift + rng.normal(0, 0.01, 40)
    found = compare(arm[None], reference[None])
    assert found.difference == pytest.approx(
        np.mean([a - b for a, b in zip(arm, reference, strict=True)])
    )
    assert found.p == pytest.approx(wilcoxon(arm - reference).pvalue)
    assert found.wins == sum(a > b for a, b in zip(arm, reference, strict=True)) / 40
    assert found.interval[0] < found.difference < found.interval[1]
    assert (found.interval[0] > 0) is (shift > 0) and (found.interval[1] < 0) is (shift < 0)


def test_pairing_removes_what_cases_share() -> None:
    """Check the paired interval: cases differ by 0.5, the arms by 0.01."""
    reference = np.linspace(0.4, 0.9, 30)
    low, high = compare(reference[None] + 0.01, reference[None]).interval
    assert low == pytest.approx(0.01) and high == pytest.approx(0.01)


def test_equal_arms() -> None:
    same = np.linspace(0, 1, 10)[None]
    found = compare(same, same)
    assert (found.difference, found.p, found.wins, found.interval) == (0, 1, 0, (0, 0))


def test_splits_are_part_of_the_interval_and_not_of_p() -> None:
    """Compare two splits that disagree: p over cases is small, the interval is wide."""
    rng = np.random.default_rng(2)
    reference = rng.uniform(0.6, 0.9, (2, 30))
    arm = reference + np.array([[0.10], [-0.06]]) + rng.normal(0, 0.01, (2, 30))
    found = compare(arm, reference)
    assert found.p == pytest.approx(wilcoxon((arm - reference).mean(0)).pvalue) and found.p < 1e-4
    assert found.interval[0] < -0.05 and found.interval[1] > 0.09
    assert found.difference == pytest.approx(0.02, abs=0.005)


def test_scans_of_one_patient() -> None:
    rng = np.random.default_rng(4)
    gains = np.repeat(rng.normal(0.01, 0.03, 10), 4)[None]
    reference = rng.uniform(0.6, 0.9, (1, 40))
    patients = [f"p{n // 4}" for n in range(40)]
    alone = compare(reference + gains, reference)
    together = compare(reference + gains, reference, patients)
    assert (alone.difference, alone.p) == (together.difference, together.p)
    assert np.ptp(together.interval) > 1.5 * np.ptp(alone.interval)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_holm_against_its_definition(seed: int) -> None:
    p = np.random.default_rng(seed).uniform(0, 0.2, 6)
    order = sorted(range(6), key=lambda i: p[i])
    slow = {
        i: max(min(1.0, (6 - j) * p[order[j]]) for j in range(rank + 1))
        for rank, i in enumerate(order)
    }
    assert holm(list(p)) == pytest.approx([slow[i] for i in range(6)])


@pytest.mark.parametrize(("a", "b"), list(itertools.product((0.1, 0.5), (0.2, 1.0))))
def test_power_law_is_recovered(a: float, b: float) -> None:
    labels = [2, 4, 8, 16, 64]
    law = fit_power_law(labels, [1 - a * n**-b for n in labels])
    assert law is not None
    assert (law.a, law.b, law.r2) == pytest.approx((a, b, 1.0))
    assert law.labels_for(1 - a * 30.0**-b) == pytest.approx(30)


@pytest.mark.parametrize("labels", [[2, 4, 8], [2, 4, 8, 16, 64]])
def test_power_law_through_scattered_points(labels: list[int]) -> None:
    """Compare level, slope and explained variance with a loop over the points."""
    rng = np.random.default_rng(len(labels))
    dice = [1 - 0.4 * n**-0.3 * float(rng.uniform(0.8, 1.25)) for n in labels]
    law = fit_power_law(labels, dice)
    assert law is not None
    x, y = [math.log(n) for n in labels], [math.log(1 - d) for d in dice]
    middle = [sum(values) / len(labels) for values in (x, y)]
    products = sum((a - middle[0]) * (b - middle[1]) for a, b in zip(x, y, strict=True))
    slope = products / sum((a - middle[0]) ** 2 for a in x)
    level = middle[1] - slope * middle[0]
    left = sum((b - level - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    r2 = 1 - left / sum((b - middle[1]) ** 2 for b in y)
    assert r2 < 0.999
    assert (law.a, law.b, law.r2) == pytest.approx((math.exp(level), -slope, r2))


def test_no_law_where_there_is_none() -> None:
    assert fit_power_law([4, 8], [0.7, 0.8]) is None
    assert fit_power_law([4, 8, 16], [0.8, 0.8, 0.8]) is None
    assert fit_power_law([4, 8, 16], [0.8, 0.75, 0.7]) is None
    assert fit_power_law([4, 8, 16], [0.8, 0.9, 1.0]) is None


def test_labels_needed() -> None:
    labels = [2, 4, 8, 16]
    rng = np.random.default_rng(3)
    sound = (
        1
        - 0.4 * np.array(labels) ** -0.4
        + rng.normal(0, 0.02, (40, 1))
        + rng.normal(0, 0.005, (40, 4))
    )
    found = labels_needed(labels, columns(sound), 0.85)
    assert found is not None
    expected = (0.4 / 0.15) ** 2.5
    assert found[0] == pytest.approx(expected, rel=0.2)
    assert found[1][0] < expected < found[1][1]
    noisy = rng.uniform(0.5, 0.9, (6, 4))
    assert labels_needed(labels, columns(noisy), 0.95) is None


def test_what_the_next_labels_add() -> None:
    """Find the exact gain of an exact curve, and the truth in the interval with noise."""
    labels = [2, 4, 8, 16]
    exact = expected_gain(labels, columns(exact_curve(labels)), 8)
    assert exact is not None and (exact.labels, exact.more) == (16, 8)
    assert exact.gain == pytest.approx(0.4 * 16**-0.5 - 0.4 * 24**-0.5)
    assert exact.interval == pytest.approx((exact.gain, exact.gain))
    rng = np.random.default_rng(3)
    noisy = exact_curve(labels)[:1] + rng.normal(0, 0.03, (40, 1)) + rng.normal(0, 0.01, (40, 4))
    found = expected_gain(labels, columns(noisy), 8)
    assert found is not None
    low, high = found.interval
    assert low < exact.gain < high and low < high


@pytest.mark.parametrize(
    ("labels", "dice", "more"),
    [
        ([4, 8], [0.7, 0.8], 4),
        ([4, 8, 16], [0.8, 0.7, 0.75], 8),
        ([4, 8, 16], [0.7, 0.8, 0.85], 17),
        ([2, 4, 8, 16], [0.9, 0.5, 0.9, 0.6], 4),
    ],
    ids=["two budgets", "no help", "more than doubled", "no law"],
)
def test_what_cannot_be_told(labels: list[int], dice: list[float], more: int) -> None:
    assert expected_gain(labels, columns(np.tile(dice, (3, 1))), more) is None


def test_resamples_without_help_count_as_no_gain() -> None:
    """Begin the interval at 0 where half of the cases get worse with labels."""
    labels = [4, 8, 16]
    better, worse = [0.60, 0.75, 0.85], [0.70, 0.65, 0.62]
    rows = np.array([better] * 4 + [worse] * 4)
    found = expected_gain(labels, columns(rows), 8)
    assert found is not None and found.interval[0] == 0 < found.gain < found.interval[1]


def test_budgets_of_other_splits() -> None:
    """Compute an interval over both, if all labels have one split and the others three."""
    labels = [2, 4, 8, 16]
    spread = np.array([[-0.02], [0.0], [0.02]]) + np.linspace(-0.01, 0.01, 12)
    scores = [1 - 0.4 * n**-0.4 + spread for n in labels[:3]]
    whole = [*scores, (1 - 0.4 * 16**-0.4 + spread)[1:2]]
    middle = [one[len(one) // 2][None] for one in whole]
    one, three = (labels_needed(labels, given, 0.85) for given in (middle, whole))
    assert one is not None and three is not None
    assert np.ptp(three[1]) > 1.5 * np.ptp(one[1])


def columns(cases: np.ndarray) -> list[np.ndarray]:
    """Return budgets as ``(one split, cases)``."""
    return [column[None] for column in cases.T]


def exact_curve(labels: list[int]) -> np.ndarray:
    """Return the Dice of two cases that both lie on ``1 - 0.4 n^(-0.5)``."""
    return np.tile([1 - 0.4 * n**-0.5 for n in labels], (2, 1))


def test_labels_needed_far_out() -> None:
    """Extrapolate up to ten times the largest budget, and not beyond."""
    labels = [1, 4, 16]
    for times, known in ((9.9, True), (10.1, False)):
        found = labels_needed(labels, columns(exact_curve(labels)), 1 - 0.4 * (16 * times) ** -0.5)
        assert (found is not None) is known
        if found is not None:
            assert (found[0], *found[1]) == pytest.approx((16 * times,) * 3)
    for target in (0.0, 1.0, 1.5, -0.5):
        assert labels_needed(labels, columns(exact_curve(labels)), target) is None


def test_labels_needed_asks_for_a_good_fit() -> None:
    labels = [1, 4, 16]
    bent = np.add(exact_curve(labels), [0.05, 0, 0.05])
    law = fit_power_law(labels, list(bent.mean(0)))
    assert law is not None
    assert labels_needed(labels, columns(bent), 0.8, min_r2=law.r2 + 1e-3) is None
    assert labels_needed(labels, columns(bent), 0.8, min_r2=law.r2 - 1e-3) is not None


@pytest.mark.parametrize(
    ("rising", "falls"), [(3, 0.0199999), (1, 0.015)], ids=["hardly", "not at all"]
)
def test_labels_needed_if_some_resamples_do_not_rise(rising: int, falls: float) -> None:
    """Find no upper bound where one case falls as the others rise, and in many resamples most."""
    steps = np.arange(3)
    cases = np.array([*[0.7 + 0.02 * steps] * rising, 0.8 - falls * steps])
    assert fit_power_law([4, 8, 16], list(cases.mean(0))) is not None
    assert labels_needed([4, 8, 16], columns(cases), 0.76) is None
