"""Choose by every strategy what its paper says, on points where this is plain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.split import split
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.strategies import COLD, Pool, cscs, strategy_named
from tests.labelling.selection_builders import blobs, pool_of

SPREADING = [name for name in COLD if name != "random"]


def chosen(name: str, pool: Pool, count: int, seed: int = 0) -> list[int]:
    return [pick.index for pick in strategy_named(name)(pool, count, seed)]


def blob_of(index: int) -> int:
    return int(index >= 30) + int(index >= 50)


@pytest.mark.parametrize("name", SPREADING)
def test_every_cluster_gives_one(name: str) -> None:
    found = chosen(name, pool_of(blobs()), 3)
    assert sorted(map(blob_of, found)) == [0, 1, 2]
    if name != "farthest_first":
        assert blob_of(found[0]) == 0  # the largest first


@pytest.mark.parametrize("name", SPREADING)
def test_a_cluster_with_a_label_is_passed_over(name: str) -> None:
    pool = pool_of(blobs((20, 20, 20)), np.array([[0.0, 0.0]]))
    assert sorted(index // 20 for index in chosen(name, pool, 2)) == [1, 2]


@pytest.mark.parametrize("name", COLD)
def test_equal_pools_give_equal_scans_and_none_twice(name: str) -> None:
    pool = pool_of(blobs(spread=3.0))
    first = chosen(name, pool, 20)
    assert first == chosen(name, pool, 20) and len(set(first)) == 20
    assert sorted(chosen(name, pool, 60)) == list(range(60))


@pytest.mark.parametrize("name", COLD)
def test_equal_scans_have_a_score(name: str) -> None:
    picks = strategy_named(name)(pool_of(np.zeros((6, 2))), 3, 0)
    assert len({pick.index for pick in picks}) == 3
    assert all(pick.score is None or np.isfinite(pick.score) for pick in picks)


def test_farthest_first_takes_the_outlier_and_the_others_do_not() -> None:
    points = np.concatenate([blobs((30, 30)), [[5.0, 60.0]]])
    assert 60 in chosen("farthest_first", pool_of(points), 2)
    for name in ("kmedoids", "typiclust"):
        assert 60 not in chosen(name, pool_of(points), 2)


def test_random_is_what_split_labels() -> None:
    cases = [DatasetCase(f"s{n:03}", f"{n}.nii", f"l{n}.nii") for n in range(30)]
    dataset = ScanDataset(Path(), "d", "", {}, cases)
    for seed in (0, 1):
        datalist = split(dataset, labelled=5, test=0, seed=seed)
        named = {entry["image"] for entry in datalist["training"]}
        pool = pool_of(np.zeros((30, 1)))
        assert {f"{index}.nii" for index in chosen("random", pool, 5, seed)} == named


def test_cscs_asks_for_difficult_scans_as_labels_grow() -> None:
    """Weigh what is difficult more with many labels, and what is typical with few."""
    points = np.linspace(0, 1, 40)[:, None]
    pool = replace(pool_of(points), difficulty=np.r_[np.zeros(39), 1.0])
    with_labels = replace(pool, labelled=np.full((500, 1), 5.0))
    (few,) = cscs(pool, 1, 0)
    assert few.index not in (0, 39)  # the ends are the least typical
    last = [pick for pick in cscs(with_labels, 40, 0) if pick.index == 39]
    first = [pick for pick in cscs(pool, 40, 0) if pick.index == 39]
    assert (last[0].score or 0) > (first[0].score or 0)


def test_doubt_times_distance() -> None:
    points = np.array([[0.0], [0.1], [4.0]])
    pool = replace(pool_of(points), doubt=np.array([0.9, 0.8, 0.5]))
    picks = strategy_named("uncertainty")(pool, 2, 0)
    assert [(pick.index, round(pick.score or 0, 3)) for pick in picks] == [(0, 0.9), (2, 0.5)]
    (third,) = strategy_named("uncertainty")(replace(pool, labelled=points[[0, 2]]), 1, 0)
    assert third.index == 1 and third.score == pytest.approx(0.8 * 0.1 / 3.9)  # 3.9 is the median
    line = pool_of(np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [99.0]]))
    line = replace(line, doubt=np.array([0.5, 0.1, 0.1, 0.1, 0.4, 0.2]))  # the outlier: 0.2
    assert [pick.index for pick in strategy_named("uncertainty")(line, 2, 0)] == [0, 4]
    with pytest.raises(ConfigError, match="no model"):
        strategy_named("disagreement")(pool_of(points), 2, 0)


def test_an_unknown_strategy() -> None:
    with pytest.raises(ConfigError, match="did you mean 'typiclust'"):
        strategy_named("typiclst")
