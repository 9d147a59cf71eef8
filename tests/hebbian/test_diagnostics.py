"""Diagnostics against loops over filters, and pictures whose colours are known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from monai_semiseg.hebbian.diagnostics import (
    LayerReport,
    collapse_warning,
    draw_filters,
    effective_rank,
    mean_cosine,
    report,
    scalars,
)

HEALTHY = LayerReport(change=0.5, cosine=0.2, dead=0.0, entropy=0.9, rank=0.8)
RED = (103, 0, 31)
WHITE = (247, 246, 246)
BLUE = (5, 48, 97)


def slow_cosine(filters: Tensor) -> float:
    rows = [one.flatten().tolist() for one in filters]
    found = []
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if i != j:
                product = sum(x * y for x, y in zip(a, b, strict=True))
                found.append(abs(product) / math.hypot(*a) / math.hypot(*b))
    return sum(found) / len(found)


def slow_rank(filters: Tensor) -> float:
    values = np.linalg.svd(filters.detach().flatten(1).numpy(), compute_uv=False).tolist()
    squares = [one * one for one in values]
    shares = [one / sum(squares) for one in squares]
    return math.exp(-sum(one * math.log(one) for one in shares if one)) / len(shares)


def slow_winners(wins: list[float]) -> tuple[float, float]:
    shares = [one / sum(wins) for one in wins]
    dead = sum(share < 0.1 / len(wins) for share in shares) / len(wins)
    entropy = -sum(share * math.log(share) for share in shares if share) / math.log(len(wins))
    return dead, entropy


def test_a_layers_report_against_loops() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 6, 3)
    start = torch.randn_like(layer.weight)
    banks = [layer.weight[:3], layer.weight[3:]]
    wins = [[50.0, 49.0, 1.0], [10.0, 0.0, 30.0]]
    sums = [SimpleNamespace(wins=torch.tensor(one)) for one in wins]
    found = report(layer, start, banks, sums)  # type: ignore[arg-type]
    moved = (layer.weight - start).flatten().tolist()
    assert found.change == pytest.approx(math.hypot(*moved) / math.hypot(*start.flatten().tolist()))
    assert found.cosine == pytest.approx(sum(map(slow_cosine, banks)) / 2, abs=1e-6)
    assert found.rank == pytest.approx(sum(map(slow_rank, banks)) / 2, abs=1e-6)
    winners = [slow_winners(one) for one in wins]
    assert found.dead == pytest.approx(sum(dead for dead, _ in winners) / 2)
    assert found.entropy == pytest.approx(sum(entropy for _, entropy in winners) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("wins", "dead", "entropy"),
    [
        ([5.0], 0.0, 1.0),
        ([4.0, 4.0], 0.0, 1.0),
        ([8.0, 0.0], 0.5, 0.0),
        ([1.0, 0.0], 0.5, 0.0),
        ([61.0, 3.0], 0.5, None),
        ([60.0, 4.0], 0.0, None),  # a tenth of an equal share is 3.2 of 64
    ],
)
def test_winners(wins: list[float], dead: float, entropy: float | None) -> None:
    layer = nn.Conv2d(1, len(wins), 3)
    sums = [SimpleNamespace(wins=torch.tensor(wins))]
    found = report(layer, layer.weight.detach(), [layer.weight], sums)  # type: ignore[arg-type]
    assert found.change == 0.0
    assert found.dead == dead
    if entropy is not None:
        assert found.entropy == pytest.approx(entropy, abs=1e-6)


def test_one_filter_is_like_no_other() -> None:
    assert mean_cosine(torch.ones(1, 2, 3, 3)) == 0.0
    assert mean_cosine(torch.tensor([[1.0, 1.0], [-2.0, -2.0]])) == pytest.approx(1.0)
    assert mean_cosine(torch.tensor([[1.0, 0.0], [0.0, 5.0]])) == 0.0


@pytest.mark.parametrize(
    ("filters", "rank"),
    [
        (torch.eye(4), 1.0),
        (torch.ones(4, 9), 0.25),
        (torch.ones(9, 4), 0.25),
        (torch.tensor([[1.0, 0.0], [-3.0, 0.0]]), 0.5),
        (torch.ones(1, 5), 1.0),
        (torch.zeros(4, 2), 0.5),
    ],
)
def test_rank_of_known_filters(filters: Tensor, rank: float) -> None:
    assert effective_rank(filters) == pytest.approx(rank, abs=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (64, 128), (128, 64), (32, 32, 3, 3, 3)])
def test_rank_of_random_filters(shape: tuple[int, ...]) -> None:
    filters = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    small, large = sorted((shape[0], math.prod(shape[1:])))
    assert effective_rank(filters) == pytest.approx(math.exp(-small / 2 / large), abs=0.01)


@pytest.mark.parametrize(
    ("rank", "cosine", "entropy", "collapsed"),
    [
        (0.2, 0.35, None, False),
        (0.199, 0.35, None, True),
        (0.25, 0.901, None, True),
        (0.25, 0.9, 0.1, False),
        (0.25, 0.5, 0.099, True),
    ],
)
def test_collapse(rank: float, cosine: float, entropy: float | None, collapsed: bool) -> None:
    one = LayerReport(change=0.5, cosine=cosine, dead=None, entropy=entropy, rank=rank)
    assert one.collapsed is collapsed
    said = collapse_warning({"good": HEALTHY, "odd": one})
    if not collapsed:
        assert said is None
        return
    assert said is not None
    assert said.startswith("1 of 2 layers have collapsed, first odd (effective rank ")
    assert ("winner entropy 0.10" in said) == (entropy is not None)


def test_scalars_are_named_after_layer_and_measure() -> None:
    assert scalars({"a": HEALTHY}) == {
        "a/change": 0.5,
        "a/cosine": 0.2,
        "a/dead": 0.0,
        "a/entropy": 0.9,
        "a/rank": 0.8,
    }


def test_filters_that_do_not_compete_have_no_winners() -> None:
    layer = nn.Conv2d(1, 3, 3)
    sums = [SimpleNamespace(wins=torch.tensor([9.0, 0.0, 0.0]))]
    start = layer.weight.detach()
    found = report(layer, start, [start], sums, competitive=False)  # type: ignore[arg-type]
    assert (found.dead, found.entropy, found.collapsed) == (None, None, False)
    assert {*scalars({"a": found})} == {"a/change", "a/cosine", "a/rank"}


def colour(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """Return the colour at a place, in shares of width and height from the upper left corner."""
    return picture.getpixel((int(x * picture.width), int(y * picture.height)))[:3]


def test_filters_in_three_dimensions_are_three_slices(tmp_path: Path) -> None:
    weight = torch.zeros(4, 2, 3, 3, 3)
    weight[:, 1] = 9.0  # the second input channel is not shown
    weight[0, 0, 1] = 2.0
    weight[1, 0, :, 1] = -0.5
    weight[2, 0, :, :, 1] = 1.0
    weight[2, 0, 0, 0, 0] = -1.0  # in no middle slice
    draw_filters(weight, tmp_path / "filters.png")
    picture = Image.open(tmp_path / "filters.png")
    assert picture.size == (264, 204)
    # The left upper and the middle voxel of every tile, by filter and by axis of the slice.
    expected = {
        (0, 0): (RED, RED),
        (0, 1): (WHITE, RED),
        (0, 2): (WHITE, RED),
        (1, 0): (WHITE, BLUE),
        (1, 1): (BLUE, BLUE),
        (1, 2): (WHITE, BLUE),
        (2, 0): (WHITE, RED),
        (2, 1): (WHITE, RED),
        (2, 2): (RED, RED),
        (3, 0): (WHITE, WHITE),
    }
    for (column, row), (corner, middle) in expected.items():
        left = column / 4
        top = (row + 0.1) / 3
        size = 0.9 / 4, 0.9 / 3
        assert colour(picture, left + size[0] / 2, top + size[1] / 2) == middle, (column, row)
        x, y = left + size[0] * 0.25, top + size[1] * 0.25
        assert colour(picture, x, y) == corner, (column, row)


def test_filters_in_two_dimensions_are_one_row_of_at_most_32(tmp_path: Path) -> None:
    draw_filters(torch.ones(40, 1, 3, 3), tmp_path / "filters.png")
    picture = Image.open(tmp_path / "filters.png")
    assert picture.size == (32 * 60 + 24, 60 + 24)
    for column in (0, 31):
        assert colour(picture, (column + 0.45) / 32, 0.55) == RED
