"""Weighted Dice and cross-entropy against MONAI's with equal weights, and a loop otherwise."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss

from monai_semiseg.losses.pseudo_label import WeightedDiceCELoss, weighted_cross_entropy


@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (2, 2, 4, 3, 5)])
def test_with_all_weights_one_it_is_monais(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(shape, dtype=torch.float64)
    label = torch.randint(0, shape[1], (shape[0], 1, *shape[2:]))
    monai = DiceCELoss(
        to_onehot_y=True,
        softmax=True,
        include_background=False,
        batch=True,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    cross_entropy = torch.nn.functional.cross_entropy(logits, label[:, 0])
    ours = WeightedDiceCELoss()(logits, label, torch.ones_like(label, dtype=torch.float64))
    # MONAI leaves the background out of its cross-entropy's one-hot form only if asked; compare
    # part by part.
    assert (ours - cross_entropy).item() == pytest.approx(
        monai.dice(logits, label).item(), abs=1e-9
    )
    assert ours.item() == pytest.approx(monai(logits, label).item(), abs=1e-9)


def test_weights_against_a_loop() -> None:
    torch.manual_seed(1)
    logits, label = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randint(0, 3, (2, 1, 4, 4))
    weight = torch.rand(2, 1, 4, 4, dtype=torch.float64).round()
    p = torch.softmax(logits, 1).movedim(1, -1).reshape(-1, 3).tolist()
    rows = list(zip(p, label.flatten().tolist(), weight.flatten().tolist(), strict=True))
    ce = sum(-w * math.log(q[y]) for q, y, w in rows) / len(rows)
    dice = [
        1
        - (2 * sum(w * q[c] * (y == c) for q, y, w in rows) + 1e-5)
        / (sum(w * (q[c] + (y == c)) for q, y, w in rows) + 1e-5)
        for c in (1, 2)
    ]
    assert WeightedDiceCELoss()(logits, label, weight).item() == pytest.approx(
        ce + sum(dice) / 2, abs=1e-10
    )


def test_voxels_of_weight_zero_have_no_gradient() -> None:
    torch.manual_seed(2)
    logits = torch.randn(1, 2, 6, 6, requires_grad=True)
    weight = torch.zeros(1, 1, 6, 6)
    weight[..., :3] = 1
    WeightedDiceCELoss()(logits, torch.ones(1, 1, 6, 6), weight).backward()
    assert logits.grad is not None
    assert logits.grad[..., :3].abs().min() > 0 and not logits.grad[..., 3:].any()


def test_nothing_counts() -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = WeightedDiceCELoss()(logits, torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_cross_entropy_of_probabilities_against_a_loop() -> None:
    torch.manual_seed(4)
    logits, weight = (
        torch.randn(2, 3, 4, 4, dtype=torch.float64),
        torch.rand(2, 1, 4, 4, dtype=torch.float64),
    )
    target = torch.softmax(torch.randn_like(logits), 1)
    said, wanted = (
        x.movedim(1, -1).reshape(-1, 3).tolist() for x in (torch.softmax(logits, 1), target)
    )
    rows = zip(said, wanted, weight.flatten().tolist(), strict=True)
    expected = (
        sum(w * sum(-q * math.log(p) for p, q in zip(ps, qs, strict=True)) for ps, qs, w in rows)
        / weight.numel()
    )
    assert weighted_cross_entropy(logits, target, weight).item() == pytest.approx(
        expected, abs=1e-10
    )
