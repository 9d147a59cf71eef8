"""Terms of the cycle against loops."""

from __future__ import annotations

import pytest
import torch

from monai_semiseg.losses.cycle import class_shares, coarsened, discretised, missing_share


def soft(dims: int, size: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.softmax(
        torch.randn((2, 3, *[size] * dims), generator=torch.Generator().manual_seed(seed)), 1
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_decisions_pass_the_gradient_of_the_probabilities(dims: int) -> None:
    p = soft(dims).requires_grad_()
    out = discretised(p)
    assert torch.equal(out.argmax(1), p.argmax(1)) and set(
        out.detach().round(decimals=5).unique().tolist()
    ) == {0, 1}
    weight = torch.randn_like(p)
    (out * weight).sum().backward()  # type: ignore[no-untyped-call]
    assert p.grad is not None
    torch.testing.assert_close(p.grad, weight)


def test_coarse_masks_are_means_of_cubes() -> None:
    p = soft(3)
    assert coarsened(p, 1) is p
    flat = coarsened(p, 6)
    torch.testing.assert_close(flat, p.mean((2, 3, 4), keepdim=True).expand_as(p))
    blocks = torch.zeros(1, 1, 4, 4)
    blocks[0, 0, :2, :2] = 1.0
    assert coarsened(blocks, 2).amax() == 1.0 and coarsened(blocks, 2)[0, 0, 0, 0] == 1.0
    assert coarsened(soft(2, 5), 2).shape == (2, 3, 5, 5)


@pytest.mark.parametrize("dims", [2, 3])
def test_coarse_masks_run_linearly_between_the_centres_of_cubes(dims: int) -> None:
    row = torch.tensor([1.0, 1.0, 0.0, 0.0])
    masks = row.reshape(1, 1, 4, *[1] * (dims - 1)).expand(1, 1, *[4] * dims)
    found = coarsened(masks, 2)
    expected = torch.tensor([1.0, 0.75, 0.25, 0.0]).reshape(1, 1, 4, *[1] * (dims - 1))
    torch.testing.assert_close(found, expected.expand_as(found))


@pytest.mark.parametrize("least", [0.05, 0.33])
def test_missing_share(least: float) -> None:
    p = soft(3)
    p = torch.cat([p[:, :1] * 0.01, p[:, 1:2], p[:, 2:] + 0.99 * p[:, :1]], 1)
    shares = [sum(float(v) for v in p[:, c].flatten()) / p[:, c].numel() for c in range(3)]
    torch.testing.assert_close(class_shares(p), torch.tensor(shares))
    assert float(missing_share(p, least)) == pytest.approx(
        sum(max(0.0, 1 - s / least) for s in shares), abs=1e-5
    )
    gone = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert float(missing_share(gone, least)) == pytest.approx(2.0)
