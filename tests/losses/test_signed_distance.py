"""Signed distance maps against a search over all voxels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from monai_semiseg.losses.signed_distance import (
    distance_loss,
    distance_to_probability,
    normalised_signed_distance,
)


def slow(mask: np.ndarray) -> np.ndarray:
    places = list(itertools.product(*map(range, mask.shape)))
    inside = [place for place in places if mask[place]]
    background = [place for place in places if not mask[place]]
    if not inside:
        return np.ones(mask.shape)
    if not background:
        return -np.ones(mask.shape)
    outer, inner = np.zeros(mask.shape), np.zeros(mask.shape)
    for place in places:
        if mask[place]:
            inner[place] = min(math.dist(place, b) for b in background) - 1
        else:
            outer[place] = min(math.dist(place, i) for i in inside)
    return outer / max(outer.max(), 1) - inner / max(inner.max(), 1)


@pytest.mark.parametrize("shape", [(9, 8), (5, 6, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_against_a_search(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = np.zeros((2, 1, *shape), int)
    for sample in label:
        for index in (1, 2):
            low = rng.integers(0, 2, len(shape))
            sample[(0, *(slice(a, a + 4 - index) for a in low))] = index
    maps = normalised_signed_distance(torch.from_numpy(label), 4)
    assert maps.shape == (2, 3, *shape) and maps.dtype == torch.float32
    for sample, index in itertools.product(range(2), (1, 2, 3)):
        np.testing.assert_allclose(
            maps[sample, index - 1], slow(label[sample, 0] == index), atol=1e-6
        )


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_small_objects_against_a_search(side: int) -> None:
    """Check one voxel, and a centre next to the surface: bounded by 1 all the same."""
    label = np.zeros((1, 1, 5, 5), int)
    label[..., :side, :side] = 1
    maps = normalised_signed_distance(torch.from_numpy(label), 2)
    np.testing.assert_allclose(maps[0, 0], slow(label[0, 0] == 1), atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_a_class_that_fills_the_patch_is_inside_everywhere(shape: tuple[int, ...]) -> None:
    label = torch.ones((1, 1, *shape), dtype=torch.long)
    maps = normalised_signed_distance(label, 3)
    assert (maps[0, 0] == -1).all() and (maps[0, 1] == 1).all()


def test_bounds_and_sign() -> None:
    label = torch.zeros(1, 1, 20, 20)
    label[..., 4:14, 4:14] = 1
    z = normalised_signed_distance(label, 2)[0, 0]
    assert z.max() == 1 and z.min() == -1
    assert (z[label[0, 0] == 1] <= 0).all() and (z[label[0, 0] == 0] > 0).all()
    assert (z[4, 4:14] == 0).all()


def test_distance_to_probability() -> None:
    z = torch.tensor([-1.0, -0.01, 0.0, 0.01, 1.0], dtype=torch.float64)
    expected = [1 / (1 + math.exp(min(700.0, 1500 * float(v)))) for v in z]
    assert distance_to_probability(z).tolist() == pytest.approx(expected, abs=1e-12)


def raw(mask: np.ndarray) -> np.ndarray:
    """Search for the signed distance, without the scale."""
    places = list(itertools.product(*map(range, mask.shape)))
    found = np.full(mask.shape, np.inf)
    for place in places:
        others = [math.dist(place, other) for other in places if mask[other] != mask[place]]
        if others:
            found[place] = 1 - min(others) if mask[place] else min(others)
    return found


def test_distances_that_ignored_voxels_could_change_are_unknown() -> None:
    """Fill ignored voxels with classes: a known distance is the same for every filling."""
    rng = np.random.default_rng(0)
    label = np.zeros((9, 8), int)
    label[2:6, 1:5] = 1
    hole = np.zeros(label.shape, bool)
    hole[4:7, 4:7] = True
    marked = torch.from_numpy(np.where(hole, -1, label))[None, None]
    found = normalised_signed_distance(marked, 3)[0].numpy()
    known = ~np.isnan(found[0])
    assert 5 < known.sum() < hole.size - hole.sum() and not known[hole].any()
    assert np.isnan(found[1]).all(), "class 2 may be in the hole"
    fillings = [rng.integers(0, 2, label.shape) for _ in range(20)] + [0 * label, 0 * label + 1]
    distances = [raw(np.where(hole, filling, label) == 1) for filling in fillings]
    for distance in distances:
        outer = max(distances[0][known].max(), 1)
        inner = max(-distances[0][known].min(), 1)
        expected = np.where(distance > 0, distance / outer, distance / inner)
        np.testing.assert_allclose(found[0][known], expected[known], atol=1e-6)
    spread = np.ptp(np.stack(distances), axis=0)
    assert (spread[~known & ~hole] > 0).all(), "and every other distance is in doubt"


def test_the_distance_loss_counts_known_voxels() -> None:
    target = torch.tensor([[[0.5, float("nan"), -1.0]]])
    distance = torch.tensor([[[0.0, 0.3, 0.0]]], requires_grad=True)
    loss = distance_loss(distance, target)
    assert loss.item() == pytest.approx((0.25 + 1) / 2)
    (gradient,) = torch.autograd.grad(loss, distance)
    assert gradient.tolist() == [[[-0.5, 0.0, 1.0]]]
    assert distance_loss(distance, torch.full_like(target, torch.nan)).item() == 0
    known = torch.tensor([[[0.5, 0.3, -1.0]]])
    assert distance_loss(distance, known).item() == pytest.approx((0.25 + 0 + 1) / 3)
