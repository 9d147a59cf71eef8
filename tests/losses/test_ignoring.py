"""Losses without the voxels of label -1, against MONAI's and against loops over voxels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.losses import DiceCELoss
from torch import Tensor

from monai_semiseg.losses.ignoring import IgnoringDiceCELoss, known_one_hot
from monai_semiseg.losses.pseudo_label import WeightedDiceCELoss

SHAPES = [(2, 3, 6, 5), (2, 2, 4, 3, 5)]
SETTINGS: list[dict[str, Any]] = [
    {"include_background": False, "batch": True},
    {"include_background": True, "batch": True, "squared_pred": True},
    {"include_background": True, "batch": False},
]


def case(shape: tuple[int, ...], ignored: float = 0.4, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    logits = torch.randn(shape, dtype=torch.float64)
    label = torch.randint(0, shape[1], (shape[0], 1, *shape[2:])).double()
    label[torch.rand(label.shape) < ignored] = -1
    return logits.requires_grad_(), label


def pooled(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the known voxels alone, as one long scan."""
    known = label[:, 0] >= 0
    return logits.movedim(1, -1)[known].T[None], label[:, 0][known][None, None]


@pytest.mark.parametrize("settings", SETTINGS, ids=["foreground", "squared", "per scan"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_without_ignored_voxels_it_is_monais_bit_for_bit(
    shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    logits, label = case(shape, 0.0)
    found = []
    for kind in (DiceCELoss, IgnoringDiceCELoss):
        loss = kind(to_onehot_y=True, softmax=True, **settings)(logits, label)
        found.append((loss, *torch.autograd.grad(loss, logits)))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("settings", SETTINGS[:2], ids=["foreground", "squared"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_monais_of_the_known_voxels_alone(
    shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    logits, label = case(shape)
    common = {"to_onehot_y": True, "softmax": True, **settings}
    found = IgnoringDiceCELoss(**common)(logits, label)
    expected = DiceCELoss(**common)(*pooled(logits, label))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    one, two = (torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    assert not one[(label < 0).expand_as(one)].any()


def test_per_scan_against_a_loop() -> None:
    logits, label = case((2, 3, 4, 4))
    label[1] = -1
    found = IgnoringDiceCELoss(to_onehot_y=True, softmax=True)(logits, label)
    rows = [
        (p, int(y))
        for p, y in zip(
            torch.softmax(logits[0], 0).flatten(1).T.tolist(), label[0].flatten(), strict=True
        )
        if y >= 0
    ]
    entropy = -sum(math.log(p[y]) for p, y in rows) / len(rows)
    dice = [
        1
        - (2 * sum(p[c] * (y == c) for p, y in rows) + 1e-5)
        / (sum(p[c] + (y == c) for p, y in rows) + 1e-5)
        for c in range(3)
    ]
    assert found.item() == pytest.approx(entropy + sum(dice) / 6, abs=1e-9)


def test_nothing_known_is_no_loss() -> None:
    logits, label = case((2, 3, 4, 4), 1.1)
    for loss in (
        IgnoringDiceCELoss(to_onehot_y=True, softmax=True)(logits, label),
        WeightedDiceCELoss()(logits, label, torch.ones_like(label)),
    ):
        assert loss.item() == 0
        assert not torch.autograd.grad(loss, logits)[0].any()


def test_weighted_loss_gives_ignored_voxels_no_weight() -> None:
    logits, label = case((2, 3, 4, 4))
    weight = torch.rand(label.shape, dtype=torch.float64)
    found = WeightedDiceCELoss()(logits, label, weight)
    expected = WeightedDiceCELoss()(logits, label.clamp_min(0), weight * (label >= 0))
    assert torch.equal(found, expected)
    gradient = torch.autograd.grad(found, logits)[0]
    assert not gradient[(label < 0).expand_as(gradient)].any()


def test_unknown_voxels_have_all_classes_alike() -> None:
    hot = known_one_hot(torch.tensor([[[2.0, -1.0, 0.0]]]), 4)
    expected = torch.tensor([[0, 0, 1, 0], [0.25] * 4, [1, 0, 0, 0]]).T
    assert torch.equal(hot, expected[None])
