"""Contrastive losses, streamed, against loops over pairs in float64."""

from __future__ import annotations

import itertools
import math
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from monai_semiseg.errors import ConfigError
from monai_semiseg.losses.contrastive import (
    GlobalContrast,
    LocalContrast,
    SelfLocalContrast,
    contrast,
)
from monai_semiseg.losses.gathered import gather_rows
from monai_semiseg.losses.streamed import pair_logsumexp
from tests.two_processes import in_two_processes


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


@pytest.mark.parametrize("tile", [1, 4, 7, 64])
@pytest.mark.parametrize("form", ["out", "in"])
@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_contrast_against_pairs(tile: int, form: str, temperature: float) -> None:
    torch.manual_seed(0)
    rows = torch.randn(13, 5, dtype=torch.float64, requires_grad=True)
    groups = [0, 1, 1, 2, 0, 1, 2, 3, 0, 0, 2, 1, 0]  # 3 is alone: skipped
    anchors = [i for i, g in enumerate(groups) if g > 0]
    total, count = contrast(
        rows,
        torch.tensor(groups),
        temperature=temperature,
        form=form,
        anchors=torch.tensor(anchors),
        tile=tile,
    )
    losses = slow(rows, groups, anchors, temperature, form)
    assert int(count) == len(losses) == len(anchors) - 1
    equal_with_gradient(total, torch.stack(losses).sum(), rows)


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


def test_global_contrast_against_the_formula() -> None:
    torch.manual_seed(2)
    first, second = (torch.randn(4, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    z = unit(torch.cat([first, second]))
    terms = []
    for i in range(8):
        s = z[i] @ z.T / 0.5
        terms.append(-s[(i + 4) % 8] + torch.cat([s[:i], s[i + 1 :]]).logsumexp(0))
    equal_with_gradient(GlobalContrast(0.5)(first, second), torch.stack(terms).mean(), first)


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
        voxels = itertools.product((one, other), *grid)
        rows = torch.stack([view[:, i, j] for view, i, j in voxels])
        means.append(torch.stack(slow(rows, [0, 1, 2, 3] * 2, list(range(8)), 0.3)).mean())
    equal_with_gradient(loss, torch.stack(means).mean(), first)


@pytest.mark.parametrize("anchors", [None, 1])
def test_blocks_without_an_anchor_do_not_count(anchors: int | None) -> None:
    """The mean is over the blocks that have an anchor: here one block of four."""
    f, y = maps(2)
    y = torch.zeros_like(y)
    y[..., 2:, 2:] = 1
    torch.manual_seed(6)
    loss = LocalContrast(0.2, block=2, anchors=anchors)(f, y)
    torch.manual_seed(6)
    alone = LocalContrast(0.2, anchors=anchors)(f[..., 2:, 2:], y[..., 2:, 2:])
    assert float(alone) > 0
    equal_with_gradient(loss, alone, f)


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
    ("call", "words"),
    [
        (lambda: GlobalContrast()(torch.randn(1, 4), torch.randn(1, 4)), "at least 2 scans"),
        (lambda: LocalContrast(block=9)(*maps(2)), "blocks of 9"),
        (lambda: LocalContrast(form="inside"), "form 'inside'"),
        (lambda: LocalContrast(temperature=0), "temperature 0"),
        (
            lambda: LocalContrast()(torch.randn(2, 3, 4, 4), torch.zeros(2, 1, 4, 5)),
            "same scans and size",
        ),
        (
            lambda: contrast(torch.randn(3, 2), torch.tensor([0, 0, 1]), temperature=-1),
            "temperature -1",
        ),
        (
            lambda: contrast(torch.randn(3, 2), torch.tensor([0, 0, 1]), temperature=0),
            "temperature 0",
        ),
        (lambda: SelfLocalContrast(stride=0), "stride 0"),
        (lambda: SelfLocalContrast(stride=5)(*maps(2)[:1] * 2), "stride of 5"),
        (lambda: LocalContrast(stride=5)(*maps(2)), "stride of 5"),
    ],
)
def test_bad_requests(call: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()  # type: ignore[operator]


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


def _losses(f: Tensor, y: Tensor) -> dict[str, Tensor]:
    half = len(f) // 2
    pooled = f.flatten(2).mean(2)
    return {
        "local": LocalContrast(0.2)(f, y),
        "in": LocalContrast(0.2, "in")(f, y),
        "block": LocalContrast(0.2, block=2)(f, y),
        "global": GlobalContrast()(pooled[:half], pooled[half:]),
        "no foreground": LocalContrast()(f, torch.zeros_like(y)),
    }


def _whole() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    y = torch.randint(0, 3, (8, 1, 4, 4))
    y[4:6] = 0  # the second process has views without foreground
    return torch.randn(8, 3, 4, 4, dtype=torch.float64), y


def _rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    f, y = _whole()
    mine = [2 * rank, 2 * rank + 1, 4 + 2 * rank, 5 + 2 * rank]  # two scans, in both views
    result = {}
    for name in _losses(*_small()):
        leaf = f[mine].clone().requires_grad_()
        loss = _losses(leaf, y[mine])[name]
        loss.backward()
        result[name] = [loss.detach(), leaf.grad]
    rows = _uneven()[2 * rank : 2 + 3 * rank].clone().requires_grad_()
    gathered, offset = gather_rows(rows)
    (gathered * (rank + 1) * torch.arange(5)[:, None]).sum().backward()
    result["uneven"] = [gathered.detach(), rows.grad]
    assert offset == 2 * rank
    assert gather_rows(torch.arange(2 + rank))[0].tolist() == [0, 1, 0, 1, 2]
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _uneven() -> Tensor:
    """Rows of which the first process has two, the second three."""
    return torch.arange(10.0).reshape(5, 2)


def _small() -> tuple[Tensor, Tensor]:
    return _whole()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    f, y = _whole()
    in_two_processes(_rank, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    # Both processes' gradients of a row, 1 and 2 times its place, come back to its owner.
    both = [result.pop("uneven") for result in results]
    assert all(torch.equal(gathered, _uneven()) for gathered, _ in both)
    gradient = torch.cat([gradient for _, gradient in both])
    assert torch.equal(gradient, 3.0 * torch.arange(5)[:, None].expand(5, 2))
    for name in results[0]:
        leaf = f.clone().requires_grad_()
        alone = _losses(leaf, y)[name]
        alone.backward()
        # DDP takes the mean of the processes' gradients; so does the loss that is shown.
        mean = (results[0][name][0] + results[1][name][0]) / 2
        torch.testing.assert_close(mean, alone.detach(), rtol=0, atol=1e-10)
        for rank in range(2):
            mine = [2 * rank, 2 * rank + 1, 4 + 2 * rank, 5 + 2 * rank]
            torch.testing.assert_close(
                results[rank][name][1] / 2, leaf.grad[mine], rtol=0, atol=1e-10
            )


def test_temperature_one_is_a_plain_softmax() -> None:
    rows = torch.eye(3, dtype=torch.float64)
    total, count = contrast(rows, torch.tensor([0, 0, 0]), temperature=1.0)
    assert float(total / count) == pytest.approx(math.log(2))


def test_defaults() -> None:
    """All voxels, the form that averages outside of the logarithm, the papers' temperatures."""
    f, y = maps(2)
    plain = LocalContrast(0.1, "out", stride=1, block=None, anchors=None)
    assert torch.equal(LocalContrast()(f, y), plain(f, y))
    one, two = (torch.randn(3, 5) for _ in range(2))
    assert torch.equal(GlobalContrast()(one, two), GlobalContrast(0.5)(one, two))
    losses = []
    for loss in (SelfLocalContrast(), SelfLocalContrast(0.1, stride=4)):
        torch.manual_seed(3)
        losses.append(loss(f, f + 1))
    assert torch.equal(*losses)


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
