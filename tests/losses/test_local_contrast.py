"""Local contrast, within and across scans, against loops over pairs in float64."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from monai_semiseg.losses.contrastive import LocalContrast, SelfLocalContrast
from tests.losses.contrastive_pairs import equal_with_gradient, flat, maps, slow


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("form", ["out", "in"])
@pytest.mark.parametrize(("stride", "block"), [(1, None), (2, None), (1, 2), (2, 2), (1, 3)])
def test_local_contrast_against_pairs(dims: int, form: str, stride: int, block: int | None) -> None:
    f, y = maps(dims, 4)
    torch.manual_seed(5)
    loss = LocalContrast(0.2, form, stride, block)(f, y)
    torch.manual_seed(5)
    begin = torch.randint(stride, (dims,)).tolist() if stride > 1 else [0] * dims
    size = len(range(0, 4, stride))
    starts = [0] if block is None else sorted({*range(0, size - block, block), size - block})
    side = size if block is None else block
    means = []
    for corner in product(starts, repeat=dims):
        box = tuple(
            slice(b + c * stride, b + (c + side - 1) * stride + 1, stride)
            for b, c in zip(begin, corner, strict=True)
        )
        rows, classes = flat(f, y, box)
        losses = slow(rows, classes, [i for i, c in enumerate(classes) if c > 0], 0.2, form)
        if losses:
            means.append(torch.stack(losses).mean())
    equal_with_gradient(loss, torch.stack(means).mean(), f)


def test_sampled_anchors_are_so_many_of_each_class() -> None:
    f, y = maps(2, 6)
    torch.manual_seed(4)
    anchors = LocalContrast(anchors=3)._anchors(y.flatten())
    assert torch.bincount(y.flatten()[anchors], minlength=3).tolist() == [0, 3, 3]
    torch.manual_seed(4)
    rows, classes = flat(f, y, (slice(None), slice(None)))
    loss = LocalContrast(0.2, anchors=3)(f, y)
    equal_with_gradient(loss, torch.stack(slow(rows, classes, anchors.tolist(), 0.2)).mean(), f)


def test_self_local_contrast_against_pairs() -> None:
    first, _ = maps(2, 4)
    second = torch.randn(3, 4, 4, 4, dtype=torch.float64)
    torch.manual_seed(5)
    loss = SelfLocalContrast(0.3, stride=2)(first, second)
    torch.manual_seed(5)
    begin = torch.randint(2, (2,)).tolist()
    grid = [range(start, 4, 2) for start in begin]
    means = []
    for one, other in zip(first, second, strict=True):
        voxels = product((one, other), *grid)
        rows = torch.stack([view[:, i, j] for view, i, j in voxels])
        means.append(torch.stack(slow(rows, [0, 1, 2, 3] * 2, list(range(8)), 0.3)).mean())
    equal_with_gradient(loss, torch.stack(means).mean(), first)


@pytest.mark.parametrize("anchors", [None, 1])
def test_blocks_without_an_anchor_do_not_count(anchors: int | None) -> None:
    """Check that the mean is over the blocks that have an anchor: here one block of four."""
    f, y = maps(2)
    y = torch.zeros_like(y)
    y[..., 2:, 2:] = 1
    torch.manual_seed(6)
    loss = LocalContrast(0.2, block=2, anchors=anchors)(f, y)
    torch.manual_seed(6)
    alone = LocalContrast(0.2, anchors=anchors)(f[..., 2:, 2:], y[..., 2:, 2:])
    assert float(alone) > 0
    equal_with_gradient(loss, alone, f)


def test_views_have_labels_of_their_own() -> None:
    f, y = maps(2)
    other = y.clone()
    other[1] = y[1].flip(-1)
    assert not torch.isclose(LocalContrast()(f, y), LocalContrast()(f, other))


@pytest.mark.parametrize(
    "settings", [{}, {"block": 2}, {"anchors": 2}, {"form": "in"}, {"stride": 2}], ids=str
)
def test_no_foreground_is_a_zero_with_a_graph(settings: dict) -> None:
    f, y = maps(2)
    loss = LocalContrast(**settings)(f, torch.zeros_like(y))
    loss.backward()
    assert float(loss) == 0 and torch.equal(f.grad, torch.zeros_like(f))


@pytest.mark.parametrize("form", ["out", "in"])
def test_one_voxel_of_a_class_is_skipped(form: str) -> None:
    f, y = maps(2)
    y = torch.zeros_like(y)
    y[0, 0, 0, 0] = 1
    loss = LocalContrast(form=form)(f, y)
    loss.backward()
    assert float(loss) == 0 and torch.isfinite(f.grad).all()


def test_half_precision_and_low_temperature_are_finite() -> None:
    f, y = maps(3)
    exact = LocalContrast(0.01)(f, y)
    leaf = f.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = LocalContrast(0.01)(leaf, y)
        loss.backward()
    assert loss.dtype == torch.float32 and float(loss) == pytest.approx(float(exact), rel=0.02)
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize(
    "loss", [LocalContrast(stride=2), SelfLocalContrast(stride=2)], ids=lambda v: type(v).__name__
)
def test_no_voxel_is_left_out_for_ever(loss: torch.nn.Module) -> None:
    """Check that all voxels are drawn: on a fixed grid, others would not be learned."""
    f, y = maps(2)
    for _ in range(30):
        (loss(f, y) if isinstance(loss, LocalContrast) else loss(f, f + 1)).backward()
    assert (f.grad.abs().sum((0, 1)) > 0).all()


def test_small_foreground_is_met_whatever_the_stride() -> None:
    f, y = maps(2)
    y = torch.zeros_like(y)
    y[:, :, 1, 2] = 1
    for _ in range(10):
        f.grad = None
        LocalContrast(stride=4)(f, y).backward()
        assert f.grad[:, :, 1, 2].abs().sum() > 0 and f.grad[:, :, 0, 0].abs().sum() == 0


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("form", ["out", "in"])
def test_ignored_voxels_are_neither_anchors_nor_contrast(form: str, block: int | None) -> None:
    """Compare with a loop over the known voxels; a block of nothing known does not count."""
    torch.manual_seed(0)
    embeddings = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 1, 4, 4))
    labels[:, :, :2, :2] = -1
    labels[1, :, 3] = -1
    loss = LocalContrast(temperature=0.5, form=form, block=block)(embeddings, labels)
    side = block or 4
    parts = []
    for a, b in product(range(0, 4, side), repeat=2):
        rows = embeddings[..., a : a + side, b : b + side].movedim(1, -1).flatten(0, -2)
        groups = labels[..., a : a + side, b : b + side].flatten()
        rows, groups = rows[groups >= 0], groups[groups >= 0]
        anchors = [i for i, group in enumerate(groups) if group > 0]
        losses = slow(rows, groups.tolist(), anchors, 0.5, form)
        parts += [torch.stack(losses).mean()] if losses else []
    equal_with_gradient(loss.double(), torch.stack(parts).mean(), embeddings)
    (gradient,) = torch.autograd.grad(
        LocalContrast(form=form, block=block)(embeddings, labels), embeddings
    )
    assert not gradient[(labels < 0).expand_as(gradient)].any()


def test_nothing_known_is_nothing_to_contrast() -> None:
    embeddings = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = LocalContrast()(embeddings, -torch.ones(2, 1, 4, 4))
    assert loss.item() == 0 and not torch.autograd.grad(loss, embeddings)[0].any()
