"""Contrastive losses pair by pair, as the reference of the streamed ones."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def slow(
    rows: Tensor, groups: list[int], anchors: list[int], temperature: float, form: str = "out"
) -> list[Tensor]:
    """Compute the loss of every anchor that counts, pair by pair."""
    f = unit(rows)
    losses = []
    for i in anchors:
        others = [k for k in range(len(f)) if k != i]
        positive = [k for k in others if groups[k] == groups[i]]
        negative = [k for k in others if groups[k] != groups[i]]
        if not positive or (form == "in" and not negative):
            continue
        s = f @ f[i] / temperature
        if form == "out":
            losses.append((s[others].logsumexp(0) - s[positive]).mean())
        else:
            losses.append(s[negative].logsumexp(0) - s[positive].logsumexp(0))
    return losses


def equal_with_gradient(fast: Tensor, exact: Tensor, leaf: Tensor) -> None:
    torch.testing.assert_close(fast, exact, rtol=0, atol=1e-10)
    (one,) = torch.autograd.grad(fast, leaf)
    (two,) = torch.autograd.grad(exact, leaf)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


def maps(dims: int, size: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    f = torch.randn(3, 4, *[size] * dims, dtype=torch.float64, requires_grad=True)
    return f, torch.randint(0, 3, (3, 1, *[size] * dims))


def flat(f: Tensor, y: Tensor, box: tuple[slice, ...]) -> tuple[Tensor, list[int]]:
    """Return rows and classes of a box, voxel by voxel."""
    ranges = [range(*s.indices(n)) for s, n in zip(box, f.shape[2:], strict=True)]
    rows, classes = [], []
    for b in range(len(f)):
        for place in product(*ranges):
            rows.append(f[(b, slice(None), *place)])
            classes.append(int(y[(b, 0, *place)]))
    return torch.stack(rows), classes
