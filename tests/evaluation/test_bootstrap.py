"""Bootstrap intervals against loops over the formula, and against scipy where it has one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from monai_semiseg.evaluation.bootstrap import (
    bootstrap_interval,
    bootstrap_means,
    group_key,
    interval_of,
)

GROUPS = ["a", "a", "b", "c", "c", "c", "d"]


def slow_means(
    values: np.ndarray, groups: list[str] | None, resamples: int, seed: int
) -> list[float]:
    """Draw splits and groups one by one, and average every case of the drawn groups."""
    splits, cases = values.shape
    names = list(dict.fromkeys(groups or map(str, range(cases))))
    of_case = groups or [str(n) for n in range(cases)]
    drawn = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    rows = np.random.default_rng([seed, 1]).integers(0, splits, (resamples, splits))
    means = []
    for draw, row in zip(drawn, rows, strict=True):
        found = []
        for split in row:
            for group in draw:
                found += [values[split, c] for c in range(cases) if of_case[c] == names[group]]
        means.append(sum(found) / len(found))
    return means


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["cases", "groups"])
def test_against_a_loop(splits: int, groups: list[str] | None) -> None:
    values = np.random.default_rng(0).normal(size=(splits, 7))
    fast = bootstrap_means(values, groups, resamples=40, seed=5)
    np.testing.assert_allclose(fast, slow_means(values, groups, 40, 5), atol=1e-12)


@pytest.mark.parametrize("count", [2, 5, 60])
def test_one_split_without_groups_is_scipys_bootstrap(count: int) -> None:
    """Keep the figures of evaluations that were written before, to the last bit."""
    values = np.random.default_rng(count).beta(8, 2, size=count)
    known = bootstrap(
        (values,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    found = bootstrap_interval(values[None])
    assert found == (float(known.low), float(known.high))
    assert bootstrap_interval(values[None], [f"p{n}" for n in range(count)]) == found


def test_interval_is_the_same_every_time_and_follows_the_seed() -> None:
    values = np.random.default_rng(0).normal(size=(1, 11))
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert np.array_equal(bootstrap_means(values), bootstrap_means(values, seed=0))
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_equal_values_and_too_few() -> None:
    assert bootstrap_interval(np.full((1, 3), 0.5)) == (0.5, 0.5)
    # The sum of seven equal scores, divided by seven, may differ from them in the last bit.
    assert bootstrap_interval(np.full((3, 7), 0.1)) == (0.1, 0.1)
    low, high = bootstrap_interval(np.array([[0.0, 1.0, 0.0, 1.0]]))
    assert low == 0.0 and high == 1.0
    for few in (np.full((1, 1), 0.5), np.empty((1, 0)), np.array([[0.5], [0.6]])):
        assert all(math.isnan(bound) for bound in bootstrap_interval(few))
    assert all(math.isnan(bound) for bound in bootstrap_interval(np.array([[0.5, 0.6]]), ["a"] * 2))


def width(values: np.ndarray, groups: list[str] | None = None) -> float:
    low, high = bootstrap_interval(values, groups)
    return high - low


def test_splits_that_differ_widen_the_interval() -> None:
    """Widen the interval: over cases alone it would be 0.02, although splits differ by 0.1."""
    cases = np.linspace(-0.02, 0.02, 30)
    splits = np.array([[0.7], [0.75], [0.8]])
    assert width(splits + cases) > 4 * width((splits + cases).mean(0, keepdims=True))
    assert width(np.full((3, 1), 0.75) + cases) == pytest.approx(width(0.75 + cases[None]), rel=0.1)


def test_scans_of_one_patient_are_no_independent_cases() -> None:
    values = np.repeat(np.linspace(0.5, 0.9, 8), 5)[None]
    patients = [f"p{n // 5}" for n in range(40)]
    assert width(values, patients) > 2 * width(values)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        values = np.random.default_rng(seed).normal(1, 2, (1, 60))
        low, high = interval_of(bootstrap_means(values, resamples=500))
        hits += low <= 1 <= high
    assert 180 <= hits <= 199


def test_interval_is_between_percentiles() -> None:
    means = np.random.default_rng(0).permutation(101).astype(float)
    assert interval_of(means) == pytest.approx((2.5, 97.5))
    assert interval_of(means, level=0.5) == pytest.approx((25, 75))


def test_a_case_without_a_group_is_one_by_itself() -> None:
    keys = [group_key("a", ""), group_key("b", ""), group_key("c", "a"), group_key("d", "a")]
    assert len(set(keys)) == 3 and keys[2] == keys[3]
