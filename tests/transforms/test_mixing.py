"""Boxes that are cut and pasted."""

from __future__ import annotations

import pytest
import torch

from monai_semiseg.transforms.mixing import (
    box_masks,
    paste_from_donors,
    paste_from_next,
    random_box,
)


@pytest.mark.parametrize("shape", [(10,), (9, 12), (7, 8, 30)])
@pytest.mark.parametrize(("low", "high"), [(0.0, 0.1), (0.3, 0.8), (1.0, 1.0)])
def test_boxes_lie_inside_and_have_the_size_asked_for(
    shape: tuple[int, ...], low: float, high: float
) -> None:
    torch.manual_seed(0)
    starts = set()
    for _ in range(50):
        box = random_box(shape, low, high)
        for side, size in zip(box, shape, strict=True):
            assert 0 <= side.start < side.stop <= size
            assert max(1, low * size) - 0.51 <= side.stop - side.start <= max(1, high * size) + 0.51
        starts.add(tuple(side.start for side in box))
    assert len(starts) > 1 or low == 1.0


def test_masks_hold_one_box_each() -> None:
    torch.manual_seed(1)
    masks = box_masks(torch.zeros(6, 2, 12, 14, 10), 0.3, 0.6)
    assert masks.shape == (6, 1, 12, 14, 10)
    for mask in masks[:, 0]:
        where = mask.nonzero()
        extent = where.max(0).values - where.min(0).values + 1
        assert mask.sum() == extent.prod()
    assert len({int(mask.sum()) for mask in masks}) > 1


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_probability(probability: float) -> None:
    torch.manual_seed(2)
    share = (
        box_masks(torch.zeros(200, 1, 4, 4), 0.5, 0.5, probability).flatten(1).any(1).float().mean()
    )
    assert float(share) == pytest.approx(probability, abs=0.1)


def test_paste_against_a_loop() -> None:
    torch.manual_seed(3)
    batch = torch.randn(3, 2, 5, 6)
    masks = box_masks(batch, 0.3, 0.8)
    pasted = paste_from_next(batch, masks)
    for n in range(3):
        inside = masks[n].expand(2, -1, -1)
        assert torch.equal(pasted[n][inside], batch[(n + 1) % 3][inside])
        assert torch.equal(pasted[n][~inside], batch[n][~inside])


def test_donors_against_a_loop() -> None:
    """Take turns if there are more scans than donors; only those that were told take one."""
    torch.manual_seed(5)
    batch = torch.randn(5, 2, 5, 6)
    donors = torch.randn(2, 2, 5, 6)
    masks = box_masks(batch, 0.3, 0.8)
    given = torch.tensor([True, False, True, True, False])
    pasted = paste_from_donors(batch, donors, masks, given)
    for n in range(5):
        inside = masks[n].expand(2, -1, -1)
        source = donors[n % 2] if given[n] else batch[(n + 1) % 5]
        assert torch.equal(pasted[n][inside], source[inside])
        assert torch.equal(pasted[n][~inside], batch[n][~inside])


def test_the_seed_decides() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append(box_masks(torch.zeros(4, 1, 9, 9), 0.2, 0.9))
    assert torch.equal(*drawn)
