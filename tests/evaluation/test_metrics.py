"""Metrics against slow loops, nearest-neighbour search and shapes whose values are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial import cKDTree

from monai_semiseg.evaluation.metrics import Scale, score_case, score_class

Mask = NDArray[np.bool_]
FIELDS = ("dice", "surface_dice", "hd95", "asd")
SHAPE = (14, 17, 11)
SPACINGS = [(1.0, 1.0, 1.0), (0.7, 1.3, 3.0), (2.5, 0.4, 1.0)]


def blob(seed: int, shape: Sequence[int] = SHAPE) -> Mask:
    """Return a smooth random mask that reaches the border here and there."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.7)
    return np.asarray(noise > 0.02)


def box(corner: Sequence[int], size: Sequence[int], shape: Sequence[int] = (24, 24, 24)) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = True
    return mask


def slow_dice(a: Mask, b: Mask) -> float:
    both = total = 0
    for place in np.ndindex(a.shape):
        both += int(a[place] and b[place])
        total += int(a[place]) + int(b[place])
    return 2 * both / total


def slow_surface(mask: Mask, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return positions (mm) of the voxels with a face towards the outside."""
    places = []
    for place in map(tuple, np.argwhere(mask)):
        for axis, step in itertools.product(range(3), (-1, 1)):
            near = list(place)
            near[axis] += step
            if not 0 <= near[axis] < mask.shape[axis] or not mask[tuple(near)]:
                places.append([p * s for p, s in zip(place, spacing, strict=True)])
                break
    return np.array(places)


def slow_distances(
    a: Mask, b: Mask, spacing: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a_places = slow_surface(a, spacing)
    b_places = slow_surface(b, spacing)
    return cKDTree(b_places).query(a_places)[0], cKDTree(a_places).query(b_places)[0]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seeds", [(0, 1), (2, 3), (4, 5)])
def test_random_masks_against_slow_references(
    spacing: tuple[float, ...], seeds: tuple[int, int]
) -> None:
    a, b = map(blob, seeds)
    score = score_class(a, b, spacing)
    there, back = slow_distances(a, b, spacing)
    assert score.dice == pytest.approx(slow_dice(a, b), abs=1e-12)
    assert score.hd95 == pytest.approx(
        max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5
    )
    assert score.asd == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-5)
    ml = math.prod(spacing) / 1000
    assert (score.pred_size, score.label_size) == (
        pytest.approx(a.sum() * ml),
        pytest.approx(b.sum() * ml),
    )


@pytest.mark.parametrize("spacing", SPACINGS)
def test_order_of_the_masks_does_not_matter(spacing: tuple[float, ...]) -> None:
    a, b = blob(6), blob(7)
    one, other = score_class(a, b, spacing), score_class(b, a, spacing)
    assert all(
        getattr(one, metric) == pytest.approx(getattr(other, metric), rel=1e-6) for metric in FIELDS
    )


@pytest.mark.parametrize("mask", [blob(1), box((3, 3, 3), (1, 1, 1)), np.ones(SHAPE, dtype=bool)])
def test_equal_masks_are_perfect(mask: Mask) -> None:
    score = score_class(mask, mask.copy(), (0.5, 1.0, 2.0))
    assert [getattr(score, metric) for metric in FIELDS] == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("step", "spacing", "distance"),
    [
        ((1, 0, 0), (1, 1, 1), 1.0),
        ((0, 0, 3), (1, 1, 2.5), 7.5),
        ((1, 2, 0), (1, 2, 9), math.sqrt(17)),
        ((5, 5, 5), (0.2, 0.3, 0.6), 3.5),
    ],
)
def test_two_single_voxels(
    step: tuple[int, ...], spacing: tuple[float, ...], distance: float
) -> None:
    score = score_class(box((9, 9, 9), (1, 1, 1)), box(np.add((9, 9, 9), step), (1, 1, 1)), spacing)
    assert score.dice == 0.0
    assert score.hd95 == pytest.approx(distance)
    assert score.asd == pytest.approx(distance)


def test_concentric_balls_differ_by_their_radii() -> None:
    spacing = np.array([1.0, 1.0, 2.0])
    radius = np.sqrt((((np.indices((40, 40, 20)).T - [20, 20, 10]) * spacing) ** 2).sum(-1)).T
    score = score_class(radius < 15, radius < 11, spacing)
    assert score.asd == pytest.approx(4.0, abs=0.4)
    assert score.hd95 == pytest.approx(4.5, abs=0.8)
    assert score.dice == pytest.approx(2 * 11**3 / (11**3 + 15**3), abs=0.01)
    assert score.surface_dice == 0.0
    assert score.pred_size == pytest.approx(4 / 3 * math.pi * 15**3 / 1000, rel=0.02)


BOX = box((4, 4, 4), (4, 3, 2))
TWIN = box((15, 14, 16), (4, 3, 2))  # the same shape, far away


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    ("pred", "label", "share"),
    [
        (BOX | TWIN, BOX, 2 / 3),  # one of the three equal surfaces finds no partner
        (BOX, BOX | TWIN, 2 / 3),
        (BOX, TWIN, 0.0),
        (BOX | TWIN, BOX | TWIN, 1.0),
        (BOX | TWIN, BOX | box((16, 4, 4), (4, 3, 2)), 1 / 2),
    ],
)
def test_surface_dice_of_equal_shapes(
    pred: Mask, label: Mask, share: float, spacing: tuple[float, ...]
) -> None:
    assert score_class(pred, label, spacing).surface_dice == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    ("shift", "spacing", "tolerance", "inside"),
    [
        (1, 1.0, 1.0, True),
        (1, 1.01, 1.0, False),
        (2, 0.5, 1.0, True),
        (2, 1.5, 3.0, True),
        (2, 1.5, 2.9, False),
    ],
)
def test_surface_dice_counts_what_lies_within_the_tolerance(
    shift: int, spacing: float, tolerance: float, inside: bool
) -> None:
    a, b = box((5, 5, 5), (8, 8, 8)), box((5 + shift, 5, 5), (8, 8, 8))
    share = score_class(a, b, (spacing, 1.0, 1.0), tolerance=tolerance).surface_dice
    assert share == 1.0 if inside else 0.5 < share < 0.95


def test_surface_dice_weighs_by_area() -> None:
    """Compare two boxes with as many surface voxels; one has twice the area."""
    both = box((2, 2, 2), (12, 12, 2), (36, 24, 24))
    alone = box((30, 2, 2), (2, 12, 12), (36, 24, 24))
    areas = [2 * (12 * 12 + 2 * 12 * 2 * 4), 2 * (2 * 12 + 2 * 12 * 4 + 12 * 12 * 4)]
    expected = 2 * areas[0] / (2 * areas[0] + areas[1])
    assert expected < 0.5
    assert score_class(both | alone, both, (1.0, 1.0, 4.0)).surface_dice == pytest.approx(
        expected, abs=0.02
    )


@pytest.mark.parametrize(
    ("pred", "label", "expected"),
    [
        (np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool), (1.0, 1.0, 0.0, 0.0)),
        (np.zeros(SHAPE, dtype=bool), blob(0), (0.0, 0.0, math.dist((0, 0, 0), (28, 8.5, 33)))),
        (blob(0), np.zeros(SHAPE, dtype=bool), (0.0, 0.0, math.dist((0, 0, 0), (28, 8.5, 33)))),
    ],
    ids=["both empty", "missed", "invented"],
)
def test_empty_masks(pred: Mask, label: Mask, expected: tuple[float, ...]) -> None:
    score = score_class(pred, label, (2.0, 0.5, 3.0))
    values = [getattr(score, metric) for metric in FIELDS]
    assert values == pytest.approx([*expected, expected[-1]][:4])
    assert (score.pred_size > 0, score.label_size > 0) == (pred.any(), label.any())


@pytest.mark.parametrize("across", [0, 1, 2])
def test_one_slice_is_compared_in_its_plane(across: int) -> None:
    """Compare in 2-D: in 3-D every pixel of a slice would lie on the surface."""
    a, b = box((2, 2), (6, 5), (12, 11)), box((4, 3), (6, 5), (12, 11))
    slices = [np.expand_dims(mask, across) for mask in (a, b)]
    spacing = (1.5, 0.8)
    three = list(spacing)
    three.insert(across, 5.0)
    score = score_class(*slices, three)
    edges = [mask & ~binary_erosion(mask) for mask in (a, b)]
    places = [np.argwhere(edge) * spacing for edge in edges]
    there, back = cKDTree(places[1]).query(places[0])[0], cKDTree(places[0]).query(places[1])[0]
    assert score.dice == pytest.approx(2 * 4 * 4 / (30 + 30))
    assert score.asd == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-6)
    assert score.hd95 == pytest.approx(
        max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-6
    )
    assert (score.label_size, score.pred_size) == pytest.approx((30 * 1.2, 30 * 1.2)), "mm2"


def test_a_missed_structure_of_one_slice_counts_as_the_diagonal_in_its_plane() -> None:
    mask = box((2, 2, 0), (4, 4, 1), (9, 9, 1))
    assert score_class(mask & False, mask, (1.5, 1.0, 500.0)).hd95 == math.dist((0, 0), (13.5, 9))


def test_pixels_are_counted_and_nothing_is_called_mm() -> None:
    a, b = box((2, 2, 0), (4, 4, 1), (9, 9, 1)), box((4, 2, 0), (4, 4, 1), (9, 9, 1))
    score = score_class(a, b, (1.0, 1.0, 1.0), unit="px")
    assert (score.hd95, score.label_size) == (2.0, 16.0)
    assert Scale(2, "px").columns == (
        "dice",
        "surface_dice_1px",
        "hd95_px",
        "asd_px",
        "label_area_px",
        "pred_area_px",
    )
    assert Scale(2).columns[-2:] == ("label_area_mm2", "pred_area_mm2")


@pytest.mark.parametrize(("shift", "share"), [(1, 1.0), (2, 0.5)])
def test_surface_dice_of_a_line_in_pixels(shift: int, share: float) -> None:
    """Move a long strip across itself: its long sides are within 1 px, or they are not."""
    strips = [np.zeros((60, 400, 1), dtype=bool) for _ in range(2)]
    strips[0][10:30] = True
    strips[1][10 : 30 + shift] = True  # one long side moves, the other stays
    score = score_class(*strips, (1.0, 1.0, 1.0), unit="px")
    assert score.surface_dice == pytest.approx(share, abs=0.06)


def test_padding_around_the_masks_changes_nothing() -> None:
    a, b = blob(1), blob(2)
    wide: list[Any] = [np.pad(mask, ((3, 5), (0, 9), (2, 2))) for mask in (a, b)]
    one, other = score_class(a, b, (1.0, 2.0, 0.5)), score_class(*wide, (1.0, 2.0, 0.5))
    assert all(getattr(one, metric) == pytest.approx(getattr(other, metric)) for metric in FIELDS)


def test_a_case_is_scored_class_by_class_without_background() -> None:
    label = np.zeros((10, 10, 10), dtype=np.int64)
    label[1:4, 1:4, 1:4] = 1
    label[6:9, 6:9, 6:9] = 2
    pred = np.where(label == 2, 1, label)
    scores = score_case(pred, label, (1.0, 1.0, 1.0), [0, 1, 2, 3])
    assert list(scores) == [1, 2, 3]
    assert scores[1].dice == pytest.approx(2 * 27 / (27 + 54))
    assert scores[2].dice == 0.0
    assert scores[2].hd95 == pytest.approx(math.sqrt(300))
    assert scores[3].dice == 1.0
