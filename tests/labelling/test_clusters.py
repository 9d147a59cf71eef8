"""Clusters and centres are those of a search through all possibilities, or by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from monai_semiseg.labelling.clusters import (
    allotted,
    farthest_first,
    k_medoids,
    natural_clusters,
    typicality,
)
from tests.labelling.selection_builders import blobs

FREE = np.inf


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_medoids_are_the_best_of_all_choices(seed: int, count: int) -> None:
    points = np.random.default_rng(seed).normal(size=(12, 2))
    distances = cdist(points, points)
    found = k_medoids(distances, count, np.full(12, FREE))
    costs = {some: distances[:, list(some)].min(1).sum() for some in combinations(range(12), count)}
    assert distances[:, found].min(1).sum() <= 1.03 * min(costs.values())
    assert len(set(found)) == count


def test_medoids_leave_out_what_is_covered() -> None:
    points = blobs((10, 8, 6))
    distances = cdist(points, points)
    covered = cdist(points, [[0.0, 0.0]]).min(1)
    first, second = k_medoids(distances, 2, covered)
    assert 10 <= first < 18 <= second


def test_equal_points_are_chosen_once_each() -> None:
    assert sorted(k_medoids(np.zeros((4, 4)), 4, np.full(4, FREE))) == [0, 1, 2, 3]


def test_farthest_points_of_a_line() -> None:
    line = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]])
    distances = cdist(line, line)
    found = farthest_first(distances, 3, np.full(5, FREE))
    assert found == [(2, FREE), (4, 8.0), (0, 2.0)]
    weighted = farthest_first(distances, 2, np.full(5, FREE), np.array([0, 0, 0, 1, 0.1]))
    assert [index for index, _ in weighted] == [3, 4] and weighted[1][1] == pytest.approx(0.7)


def test_typicality_by_hand() -> None:
    points = np.array([[0.0], [1.0], [3.0], [7.0]])  # two neighbours each
    expected = 1 / np.array([(1 + 3) / 2, (1 + 2) / 2, (2 + 3) / 2, (4 + 6) / 2])
    assert np.allclose(typicality(points), expected)
    assert typicality(points[:1]).tolist() == [1.0]


def test_natural_clusters_are_those_that_there_are() -> None:
    labels = natural_clusters(blobs(), seed=0)
    assert len(np.unique(labels)) == 3
    assert all(len(np.unique(labels[part])) == 1 for part in (slice(0, 30), slice(30, 50)))
    assert natural_clusters(np.ones((5, 2)), seed=0).tolist() == [0] * 5


@pytest.mark.parametrize(
    ("sizes", "labels", "total", "shares"),
    [
        ([30, 20, 10], [0, 0, 0], 6, [3, 2, 1]),
        ([5, 3, 2], [0, 0, 0], 2, [1, 1, 0]),
        ([1, 1, 8], [0, 0, 0], 9, [1, 1, 7]),
        ([20, 20], [4, 0], 4, [0, 4]),
    ],
    ids=str,
)
def test_shares_of_clusters(
    sizes: list[int], labels: list[int], total: int, shares: list[int]
) -> None:
    assert allotted(sizes, labels, total) == shares
