"""Transposed convolutions: what they learn, and that they keep what a network tells them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from monai_semiseg.hebbian.diagnostics import collapse_warning, effective_rank
from monai_semiseg.hebbian.forms import form_of
from monai_semiseg.hebbian.learner import HebbianLearner
from monai_semiseg.hebbian.plasticity import observe
from monai_semiseg.hebbian.rules import HebbianPCA, Rule, SoftHebb, SoftWinnerTakeAll

from .conftest import make
from .test_learner import learn, network

LAYERS = [
    (2, 6, 4, 2, 2, 0, 1, 1),
    (3, 6, 4, 2, 2, 0, 1, 2),
    (2, 6, 4, 3, 2, 1, 1, 1),
    (3, 4, 4, 4, 2, 1, 1, 2),
]


def varied(channels: int, directions: int, size: int = 32) -> Tensor:
    """Return a map whose channels are mixes of some maps that differ much in their spread."""
    torch.manual_seed(2)
    sources = (
        torch.randn(2, directions, size, size) * 2.0 ** -torch.arange(directions)[:, None, None]
    )
    mix = torch.linalg.qr(torch.randn(channels, directions))[0]
    return torch.einsum("cd,bdij->bcij", mix, sources)


def learnt(transposed: str, rule: Rule | None = None, steps: int = 300) -> nn.ConvTranspose2d:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(16, 8, 2, 2)
    head = nn.Conv2d(8, 1, 1)
    learner = HebbianLearner(
        nn.Sequential(layer, head), rule or HebbianPCA(), transposed=transposed
    )
    learner.prepare()
    learner.attach()
    images = varied(16, 16)
    for _ in range(steps):
        with torch.no_grad():
            learner.network(images)
        learner.step(0.1)
    return layer


def test_swapped_principal_components_are_a_mix_of_the_later_filters() -> None:
    """The update is ``sum_{j > i} <x_i x_j> w_j``, if no two patches overlap."""
    layer, images, output = make((2, 4, 3, 2, 2, 0, 1, 1), transposed=True)
    with torch.no_grad():
        layer.bias.zero_()
        output = layer(images)
    form = form_of(layer, "swap")
    sums = [observe(HebbianPCA(), *view, standardise=False) for view in form.views(images, output)]
    found = form.update(HebbianPCA(), sums, layer.weight.detach())
    x = images.movedim(1, -1).reshape(-1, 4)
    x = x - x.mean(0)
    together = x.T @ x / len(x)
    w = layer.weight.detach()
    for i in range(4):
        mixed = sum((together[i, j] * w[j] for j in range(i + 1, 4)), torch.zeros_like(w[0]))
        torch.testing.assert_close(found[i], mixed, rtol=0, atol=1e-10)


def test_swapped_filters_collapse_and_those_of_taps_do_not() -> None:
    collapsed = learnt("swap").weight.detach()
    assert effective_rank(collapsed) == pytest.approx(1 / 16, abs=1e-3)  # one direction of 16
    layer = learnt("per_tap")
    taps = form_of(layer, "per_tap").banks(layer.weight.detach())
    drawn = math.exp(-8 / 2 / 16)  # rank of 8 random filters of 16 numbers
    assert min(map(effective_rank, taps)) > 0.9 * drawn


def test_the_taps_learn_the_principal_components_of_the_input() -> None:
    layer = learnt("per_tap", steps=1500)
    images = varied(16, 16).movedim(1, -1).reshape(-1, 16)
    leading = torch.linalg.eigh((images - images.mean(0)).T @ images)[1].flip(1)[:, :4]
    for tap in form_of(layer, "per_tap").banks(layer.weight.detach()):
        agreement = (tap.flatten(1)[:4] @ leading).abs().diagonal()
        assert agreement.min() > 0.98


@pytest.mark.parametrize("rule", [HebbianPCA(), SoftWinnerTakeAll()], ids=repr)
def test_the_layer_begins_as_nearest_neighbour_upsampling(rule: Rule) -> None:
    layer = learnt("per_tap", rule, steps=20)
    with torch.no_grad():
        layer.bias.zero_()
        large = layer(varied(16, 16))
    small = large[..., ::2, ::2]
    torch.testing.assert_close(large, small.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("case", LAYERS, ids=str)
@pytest.mark.parametrize("rule", [HebbianPCA(), SoftHebb(radius=3.0)], ids=repr)
def test_all_taps_start_from_the_first(case: tuple, rule: Rule) -> None:
    layer, *_ = make(case, transposed=True)
    form = form_of(layer, "per_tap")
    drawn = layer.weight.detach().clone()
    started = form.start(drawn)
    assert started.shape == drawn.shape
    torch.testing.assert_close(started.flatten(2)[:, :, 0], drawn.flatten(2)[:, :, 0])
    assert (started.flatten(2) == started.flatten(2)[:, :, :1]).all()
    for same in ("swap", "per_tap_summed"):
        assert form_of(layer, same).start(drawn) is drawn


@pytest.mark.parametrize("name", ["BasicUNet", "UNet", "DynUNet"])
def test_no_layer_of_a_stock_network_collapses(name: str) -> None:
    """Learning leaves the transposed convolutions at least half of the rank that is drawn."""
    drawn = network(name)
    learner = learn(network(name), HebbianPCA(), steps=12)
    layers = {
        key: layer for key, layer in drawn.named_modules() if isinstance(layer, nn.ConvTranspose3d)
    }
    reports = learner.reports()
    assert layers.keys() & reports.keys()
    for key in layers.keys() & reports.keys():
        before = map(effective_rank, form_of(layers[key], "per_tap").banks(layers[key].weight))
        assert reports[key].rank > 0.5 * min(before), key
    assert collapse_warning(reports) is None
