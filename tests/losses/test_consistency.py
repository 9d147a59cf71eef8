"""Consistency losses against loops over voxels, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from monai_semiseg.losses.consistency import (
    entropy,
    normalised_entropy,
    probability_mse,
    pyramid_consistency,
)

SHAPES = [(2, 2, 4, 5), (1, 3, 3, 2, 4), (3, 5, 2, 2)]


def probabilities(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(3 * torch.randn(shape, generator=generator, dtype=torch.float64), 1)


def voxels(tensor: Tensor) -> list[list[float]]:
    """Return one list of channel values per voxel."""
    return tensor.movedim(1, -1).reshape(-1, tensor.shape[1]).tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_probability_mse(shape: tuple[int, ...]) -> None:
    p, q = probabilities(shape, 0), probabilities(shape, 1)
    weight = (torch.rand((shape[0], 1, *shape[2:]), dtype=torch.float64) > 0.5).double()
    rows = list(zip(voxels(p), voxels(q), voxels(weight), strict=True))
    squares = [sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / len(x) for x, y, _ in rows]
    assert probability_mse(p, q).item() == pytest.approx(sum(squares) / len(squares), abs=1e-12)
    slow = sum(s * w[0] for s, (_, _, w) in zip(squares, rows, strict=True)) / sum(
        w[0] for _, _, w in rows
    )
    assert probability_mse(p, q, weight).item() == pytest.approx(slow, abs=1e-12)


def test_probability_mse_without_a_voxel_that_counts() -> None:
    p = probabilities(SHAPES[0], 0).requires_grad_()
    loss = probability_mse(
        p, probabilities(SHAPES[0], 1), torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    )
    loss.backward()
    assert loss.item() == 0 and p.grad is not None and not p.grad.any()


def test_the_target_is_a_constant() -> None:
    p, q = (probabilities(SHAPES[0], n).requires_grad_() for n in (0, 1))
    probability_mse(p, q).backward()
    assert p.grad is not None and q.grad is None


@pytest.mark.parametrize("shape", SHAPES)
def test_entropy(shape: tuple[int, ...]) -> None:
    p = probabilities(shape, 2)
    slow = [-sum(x * math.log(x + 1e-6) for x in row) for row in voxels(p)]
    assert entropy(p).shape == (shape[0], 1, *shape[2:])
    assert [row[0] for row in voxels(entropy(p))] == pytest.approx(slow, abs=1e-12)
    assert normalised_entropy(p).item() == pytest.approx(
        sum(slow) / len(slow) / math.log(shape[1]), abs=1e-12
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_entropy_bounds(classes: int) -> None:
    even = torch.full((1, classes, 4, 4), 1 / classes, dtype=torch.float64)
    sure = (
        torch.nn.functional.one_hot(torch.zeros(1, 4, 4, dtype=torch.long), classes)
        .movedim(-1, 1)
        .double()
    )
    assert normalised_entropy(even).item() == pytest.approx(1, abs=1e-5)
    assert normalised_entropy(sure).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scales", [1, 2, 4])
def test_pyramid_consistency(shape: tuple[int, ...], scales: int) -> None:
    parts = [probabilities(shape, n) for n in range(scales)]
    total = 0.0
    mean = [
        [sum(values) / scales for values in zip(*rows, strict=True)]
        for rows in zip(*map(voxels, parts), strict=True)
    ]
    for part in parts:
        rows = list(zip(voxels(part), mean, strict=True))
        kl = [
            sum(p * (math.log(p + 1e-6) - math.log(q + 1e-6)) for p, q in zip(x, y, strict=True))
            for x, y in rows
        ]
        square = [sum((q - p) ** 2 for p, q in zip(x, y, strict=True)) / len(x) for x, y in rows]
        certain = [math.exp(-k) for k in kl]
        rectified = sum(s * c for s, c in zip(square, certain, strict=True)) / len(rows)
        total += rectified / (sum(certain) / len(rows) + 1e-8) + sum(kl) / len(rows)
    assert pyramid_consistency(parts).item() == pytest.approx(total / scales, abs=1e-10)


def test_pyramid_that_agrees_costs_nothing() -> None:
    p = probabilities(SHAPES[1], 0)
    assert pyramid_consistency([p, p, p]).item() == pytest.approx(0, abs=1e-12)
