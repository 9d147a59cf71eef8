"""Every rule on every form equals a loop over sites, in float64 to 1e-10."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.forms import Form, form_of
from monai_semiseg.hebbian.plasticity import observe
from monai_semiseg.hebbian.rules import HebbianPCA, Rule, SoftHebb, SoftWinnerTakeAll

from .conftest import make, patches, rows

RULES = [
    SoftWinnerTakeAll(4.0),
    SoftWinnerTakeAll(2.0, balanced=False),
    HebbianPCA(),
    SoftHebb(1.5),
]
TRANSPOSED = [
    (2, 4, 4, 2, 2, 0, 1, 1),
    (3, 4, 4, 2, 2, 0, 1, 2),
    (2, 4, 6, 3, 2, 1, 1, 2),
    (3, 2, 3, 3, 2, 1, 1, 1),
    (2, 2, 3, 4, 2, 1, 1, 1),
]


def slow_update(
    rule: Rule, x: Tensor, v: Tensor, w: Tensor, hebbian_only: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute Hebbian and decay term of one group, gain included.

    x: patches ``(N, P)``; v: responses ``(N, C)``; w: filters ``(C, P)``.
    """
    hebbian, decay = torch.zeros_like(w), torch.zeros_like(w)
    won = torch.zeros(len(w), dtype=torch.float64)
    for x_n, v_n in zip(x, v, strict=True):
        if isinstance(rule, HebbianPCA):
            for i in range(len(w)):
                hebbian[i] += v_n[i] * x_n
                decay[i] += v_n[i] * sum(v_n[j] * w[j] for j in range(i + 1))
            continue
        e = [math.exp(rule.inverse_temperature * float(one)) for one in v_n]
        for o in range(len(w)):
            r = e[o] / sum(e)
            if isinstance(rule, SoftHebb):
                r = r if o == int(v_n.argmax()) else -r
                decay[o] += r * v_n[o] * w[o]
            else:
                decay[o] += r * w[o]
            won[o] += r
            hebbian[o] += r * x_n
    hebbian, decay = hebbian / len(x), decay / len(x)
    if isinstance(rule, SoftWinnerTakeAll) and rule.balanced:
        gain = len(x) / won
    elif isinstance(rule, SoftHebb):
        gain = (w.norm(dim=1) - 1).abs().sqrt()
    else:
        gain = torch.ones(len(w), dtype=torch.float64)
    return gain[:, None] * hebbian, gain[:, None] * decay


def updated(
    form: Form, rule: Rule, images: Tensor, output: Tensor, weight: Tensor, **settings: bool
) -> Tensor:
    """Return the update of a layer by one batch."""
    sums = [observe(rule, *view, **settings) for view in form.views(images, output)]
    return form.update(rule, sums, weight)


def assert_slow(fast: Tensor, rule: Rule, seen: Tensor, v: Tensor, layer: nn.Module) -> None:
    """Require that an update ``(C, P)`` is the loop's, in every group of the layer.

    seen: patches ``(N, channels, taps)``; v: responses ``(N, C)``.
    """
    filters = layer.weight.detach().flatten(1).chunk(layer.groups)
    parts = zip(
        fast.chunk(layer.groups),
        seen.chunk(layer.groups, 1),
        v.chunk(layer.groups, 1),
        filters,
        strict=True,
    )
    for update, x, response, w in parts:
        hebbian, decay = slow_update(rule, x.flatten(1), response, w)
        torch.testing.assert_close(update, hebbian - decay, rtol=0, atol=1e-10)


def standardised(x: Tensor, v: Tensor, centre: bool, standardise: bool) -> tuple[Tensor, Tensor]:
    if centre:
        x, v = x - x.mean(0), v - v.mean(0)
    # In one group's slow loop the layer's scale comes from all of its channels.
    scale = (v**2).mean().sqrt() if standardise and centre else torch.ones(()).double()
    if standardise and not centre:
        scale = (v**2).mean().sqrt()
    return x / scale, v / scale


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize(("centre", "standardise"), [(False, False), (True, True), (True, False)])
def test_convolutions(setting: tuple, rule: Rule, centre: bool, standardise: bool) -> None:
    layer, images, output = make(setting)
    form = form_of(layer, "swap")
    weight = layer.weight.detach()
    settings = {"centre": centre, "standardise": standardise}
    fast = updated(form, rule, images, output, weight, **settings).flatten(1)
    x, v = standardised(
        patches(images, tuple(output.shape[2:]), layer), rows(output), centre, standardise
    )
    assert_slow(fast, rule, x, v, layer)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
@pytest.mark.parametrize("output_padding", [0, 1])
def test_swap(case: tuple, rule: Rule, output_padding: int) -> None:
    layer, images, output = make(case, transposed=True, output_padding=output_padding)
    form = form_of(layer, "swap")
    fast = updated(form, rule, images, output, layer.weight.detach()).flatten(1)
    y, x = standardised(patches(output, tuple(images.shape[2:]), layer), rows(images), True, True)
    assert_slow(fast, rule, y, x, layer)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
@pytest.mark.parametrize("summed", [False, True])
def test_per_tap(case: tuple, rule: Rule, summed: bool) -> None:
    layer, images, output = make(case, transposed=True)
    form = form_of(layer, "per_tap_summed" if summed else "per_tap")
    weight = layer.weight.detach()
    plain = {"centre": False, "standardise": False}
    fast = updated(form, rule, images, output, weight, **plain).flatten(2)
    sites = tuple(images.shape[2:])
    groups = layer.groups
    y = patches(output, sites, layer)
    inside = patches(torch.ones_like(output), sites, layer)[:, 0].bool()
    per_in, per_out = images.shape[1] // groups, output.shape[1] // groups
    for g in range(groups):
        inputs, outputs = slice(g * per_in, (g + 1) * per_in), slice(g * per_out, (g + 1) * per_out)
        parts = []
        for t in range(y.shape[2]):
            w = weight.flatten(2)[inputs, :, t].T
            parts.append(
                slow_update(
                    rule, rows(images)[inside[:, t], inputs], y[inside[:, t], outputs, t], w
                )
            )
        if summed and (
            rule == HebbianPCA() or rule == SoftWinnerTakeAll(2.0, balanced=False)
        ):  # gain 1: plain sums
            total = sum(decay for _, decay in parts)
            parts = [(hebbian, total) for hebbian, _ in parts]
        elif summed:
            continue
        for t, (hebbian, decay) in enumerate(parts):
            torch.testing.assert_close(fast[inputs, :, t].T, hebbian - decay, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_swap_is_the_convolution_rule_on_space_to_depth(rule: Rule) -> None:
    layer, images, output = make((3, 4, 3, 2, 2, 0, 1, 1), transposed=True)
    form = form_of(layer, "swap")
    weight = layer.weight.detach()
    swap = updated(form, rule, images, output, weight)
    blocks = output.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2)  # B, C, sites..., 2, 2, 2
    depth = blocks.permute(0, 1, 5, 6, 7, 2, 3, 4).flatten(1, 4)
    point = form_of(nn.Conv3d(depth.shape[1], 4, 1).double(), "swap")
    plain = updated(point, rule, depth, images, weight.reshape(4, -1, 1, 1, 1))
    torch.testing.assert_close(swap.flatten(), plain.flatten(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_per_tap_is_independent_pointwise_layers(rule: Rule) -> None:
    layer, images, output = make((2, 3, 4, 2, 2, 0, 1, 1), transposed=True)
    form = form_of(layer, "per_tap")
    together = updated(form, rule, images, output, layer.weight.detach())
    for t, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        point = nn.Conv2d(3, 4, 1).double()
        bank = layer.weight.detach()[:, :, i, j].T.reshape(4, 3, 1, 1)
        alone = form_of(point, "swap")
        update = updated(alone, rule, images, output[:, :, i::2, j::2], bank)
        torch.testing.assert_close(
            together.flatten(2)[:, :, t].T, update[:, :, 0, 0], rtol=0, atol=1e-10
        )


def test_soft_winner_take_all_equals_autograd() -> None:
    """Compare with the gradient of sum r conv(x, W) minus (sum r) W, with r constant."""
    layer, images, output = make((3, 2, 4, 3, 2, 1, 1, 1))
    rule = SoftWinnerTakeAll(3.0, balanced=False)
    weight = layer.weight.detach().clone().requires_grad_()
    r = torch.softmax(3.0 * output, 1)
    count = r[:, 0].numel()
    (gradient,) = torch.autograd.grad(
        (r * functional.conv3d(images, weight, stride=2, padding=1)).sum(), weight
    )
    expected = (gradient - r.sum((0, 2, 3, 4)).reshape(-1, 1, 1, 1, 1) * weight.detach()) / count
    form = form_of(layer, "swap")
    found = updated(
        form, rule, images, output, layer.weight.detach(), centre=False, standardise=False
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_size_does_not_depend_on_batch() -> None:
    layer, images, output = make((2, 3, 4, 3, 1, 1, 1, 1))
    for rule in RULES:
        form = form_of(layer, "swap")
        weight = layer.weight.detach()
        once = updated(form, rule, images, output, weight)
        three = (images.repeat(3, 1, 1, 1), output.repeat(3, 1, 1, 1))
        thrice = updated(form, rule, *three, weight)
        torch.testing.assert_close(once, thrice, rtol=0, atol=1e-10)


def test_half_precision_is_summed_in_float32() -> None:
    layer, images, output = make((2, 3, 4, 3, 1, 1, 1, 1))
    rule = HebbianPCA()
    form = form_of(layer, "swap")
    weight = layer.weight.detach()
    exact = updated(form, rule, images, output, weight)
    with torch.autocast("cpu", torch.bfloat16):
        half = updated(form, rule, images.bfloat16().float(), output.bfloat16(), weight)
    assert torch.nn.functional.cosine_similarity(exact.flatten(), half.flatten(), 0) > 0.999


def test_principal_components_are_found_in_order() -> None:
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    spread = torch.tensor([3.0, 2.2, 1.6, 0.5, 0.3, 0.1], dtype=torch.float64)
    data = (torch.randn(4000, 6, dtype=torch.float64) * spread) @ directions.T + 2.0
    images = data.T.reshape(1, 6, 40, 100)
    layer = nn.Conv2d(6, 3, 1).double()
    rule = HebbianPCA()
    form = form_of(layer, "swap")
    with torch.no_grad():
        for _ in range(600):
            layer.weight += 0.1 * updated(form, rule, images, layer(images), layer.weight)
    centred = data - data.mean(0)
    leading = torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :3]
    found = layer.weight.detach().flatten(1)
    torch.testing.assert_close((found @ leading).abs(), torch.eye(3).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(found @ found.T, torch.eye(3).double(), rtol=0, atol=1e-3)


def test_soft_winner_take_all_finds_clusters() -> None:
    torch.manual_seed(1)
    centres = torch.tensor([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]).double()
    data = centres.repeat(300, 1) + 0.3 * torch.randn(900, 3, dtype=torch.float64)
    images = data.T.reshape(1, 3, 30, 30)
    layer = nn.Conv2d(3, 3, 1, bias=False).double()
    rule = SoftWinnerTakeAll(5.0)
    form = form_of(layer, "swap")
    with torch.no_grad():
        for _ in range(200):
            layer.weight /= layer.weight.norm(dim=1, keepdim=True)
            layer.weight += 0.2 * updated(form, rule, images, layer(images), layer.weight)
    towards = centres - centres.mean(0)
    cosine = functional.cosine_similarity(layer.weight.flatten(1)[:, None], towards[None], dim=2)
    assert sorted(cosine.argmax(1).tolist()) == [0, 1, 2] and cosine.amax(1).min() > 0.98


def test_competition_needs_two() -> None:
    layer, images, output = make((2, 4, 4, 3, 1, 1, 1, 4))
    with pytest.raises(ConfigError, match="groups of one filter"):
        observe(SoftWinnerTakeAll(), *form_of(layer, "swap").views(images, output)[0])
    observe(HebbianPCA(), *form_of(layer, "swap").views(images, output)[0])


def test_a_filter_that_wins_nothing_does_not_move() -> None:
    count = torch.tensor(100.0, dtype=torch.float64)
    shares = torch.tensor([60.0, 2e-8, 0.0], dtype=torch.float64)
    gain = SoftWinnerTakeAll().gain(shares, count, torch.ones(3, 2))
    assert gain.tolist() == [100 / 60, 0.0, 0.0]


@pytest.mark.parametrize("value", [-1.0, 0.0])
@pytest.mark.parametrize("kind", [SoftWinnerTakeAll, SoftHebb])
def test_settings_are_checked(kind: type, value: float) -> None:
    with pytest.raises(ConfigError, match=f"inverse_temperature {value}"):
        kind(inverse_temperature=value)


def test_unknown_form() -> None:
    with pytest.raises(ConfigError, match="swap, per_tap"):
        form_of(nn.ConvTranspose2d(1, 1, 2), "swop")


def test_defaults_and_settings_between_nought_and_one() -> None:
    """Check that SoftHebb's filters start long and come to length 1 by themselves.

    The others stay there.
    """
    assert SoftHebb() == SoftHebb(1.0, radius=5.0, exponent=0.5, spherical=False)
    assert SoftWinnerTakeAll() == SoftWinnerTakeAll(5.0, True, spherical=True, radius=1.0)
    assert HebbianPCA() == HebbianPCA(spherical=True, radius=1.0)
    assert SoftHebb(0.5, radius=0.5).radius == 0.5
    assert SoftWinnerTakeAll(0.5).inverse_temperature == 0.5
