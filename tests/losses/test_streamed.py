"""Log-sum-exp over pairs, in tiles: gradients, and the type of its sums."""

from __future__ import annotations

import torch

from monai_semiseg.losses.streamed import pair_logsumexp
from tests.losses.contrastive_pairs import unit


def test_logsumexp_is_differentiable_to_both_sides() -> None:
    torch.manual_seed(1)
    a = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    own = torch.tensor([0, -1, 2, 8, -1, 5])
    classes = (torch.tensor([0, 1, 0, 1, 2, 2]), torch.tensor([0, 1, 2] * 3))
    for settings in ({}, {"same": classes}, {"other": classes}):
        assert torch.autograd.gradcheck(
            lambda x, y, s=settings: pair_logsumexp(x, y, 0.3, own=own, tile=4, **s),
            (a, b),
            atol=1e-7,
        )


def test_sums_are_in_float32_under_autocast() -> None:
    torch.manual_seed(7)
    rows = unit(torch.randn(9, 16))
    own = torch.arange(9)
    ends = []
    for lower in (False, True):
        leaf = rows.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            found = pair_logsumexp(leaf, leaf, 0.01, own=own, tile=4)
            found.sum().backward()
        ends.append((found.detach(), leaf.grad))
    for plain, under in zip(*ends, strict=True):
        assert torch.equal(under, plain)
