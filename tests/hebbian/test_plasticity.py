"""The sums behind an update: several batches are as one, winners and spread against loops."""

from __future__ import annotations

from dataclasses import fields
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_semiseg.hebbian.geometry import Geometry
from monai_semiseg.hebbian.plasticity import Sums, observe, terms
from monai_semiseg.hebbian.rules import HebbianPCA, Rule, SoftHebb, SoftWinnerTakeAll

RULES = [SoftWinnerTakeAll(2.0), HebbianPCA(), SoftHebb(1.5)]


def seen(filters: int = 4, dims: int = 2) -> tuple[Geometry, Tensor, Tensor]:
    """Return geometry, images and responses of a layer."""
    torch.manual_seed(1)
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    layer = kind(2, filters, 3, padding=1).double()
    images = torch.randn(4, 2, *[5] * dims, dtype=torch.float64) + 0.5
    with torch.no_grad():
        return Geometry.of(layer), images, layer(images)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_two_batches_add_up_to_one(rule: Rule) -> None:
    geometry, images, output = seen()
    plain = {"centre": False, "standardise": False}
    one, other = (
        observe(rule, geometry, images[part], output[part], **plain)
        for part in (slice(0, 1), slice(1, 4))
    )
    whole = observe(rule, geometry, images, output, **plain)
    both = one + other
    for field in fields(Sums):
        if field.name != "variance":
            found = getattr(both, field.name)
            torch.testing.assert_close(found, getattr(whole, field.name), rtol=0, atol=1e-10)
    assert float(both.variance) == pytest.approx(float(one.variance + other.variance) / 2)
    assert float(one.variance) != float(other.variance)


@pytest.mark.parametrize("dims", [2, 3])
def test_winners_against_a_loop(dims: int) -> None:
    """Count at every second site along each axis; filters that respond alike win both."""
    geometry, images, output = seen(dims=dims)
    output[0, :, 0, 0] = 7.0
    wins = [0.0] * 4
    for scan in output:
        for site in product(range(0, 5, 2), repeat=dims):
            found = [float(scan[(c, *site)]) for c in range(4)]
            for c, value in enumerate(found):
                wins[c] += value == max(found)
    sums = observe(HebbianPCA(), geometry, images, output, centre=False, standardise=False)
    assert sums.wins.tolist() == wins
    assert sum(wins) > 4 * 3**dims


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("centre", [True, False])
def test_processes_add_up_to_one(rule: Rule, centre: bool) -> None:
    """Give two processes the same scans: what each adds up is twice its own."""

    def twice(parts: Any) -> None:
        for part in parts:
            part.mul_(2)

    geometry, images, output = seen()
    found = observe(rule, geometry, images, output, centre=centre, reduce=twice)
    both = (images.repeat(2, 1, 1, 1), output.repeat(2, 1, 1, 1))
    right = observe(rule, geometry, *both, centre=centre)
    for field in fields(Sums):
        torch.testing.assert_close(
            getattr(found, field.name), getattr(right, field.name), rtol=0, atol=1e-10
        )


def test_variance_is_the_mean_over_the_filters() -> None:
    geometry, images, output = seen()
    sums = observe(HebbianPCA(), geometry, images, output)
    slow = [float(output[:, c].var(correction=0)) for c in range(4)]
    assert float(sums.variance) == pytest.approx(sum(slow) / 4)
    assert float(sums.count) == 4 * 5 * 5


@pytest.mark.parametrize(("spread", "kept"), [(1.2e-6, True), (0.8e-6, False), (0.0, False)])
def test_a_millionth_of_the_mean_is_rounding(spread: float, kept: bool) -> None:
    geometry, images, output = seen(filters=2)
    signs = torch.ones(25, dtype=torch.float64)
    signs[::2] = -1
    signs[0] = 0
    output[:] = 3.0 * (1 + spread * signs.reshape(5, 5))
    output[:, 1] *= -1
    sums = observe(SoftWinnerTakeAll(2.0), geometry, images, output)
    assert (float(sums.variance) > 0) is kept
    assert torch.isfinite(sums.correlation).all()
    assert bool(sums.correlation.any()) is kept
    assert bool(sums.finite)


def test_sums_are_not_in_half_precision() -> None:
    geometry, images, output = seen()
    exact = observe(HebbianPCA(), geometry, images, output)
    with torch.autocast("cpu", torch.bfloat16):
        found = observe(HebbianPCA(), geometry, images.float(), output.float())
    for field in fields(Sums):
        ours, right = getattr(found, field.name), getattr(exact, field.name)
        torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-4)


def test_one_filter() -> None:
    geometry, images, output = seen(filters=1)
    sums = observe(HebbianPCA(), geometry, images, output, centre=False, standardise=False)
    assert float(sums.count) == 100
    assert sums.wins.tolist() == [4 * 3 * 3]


@pytest.mark.parametrize("where", ["images", "responses"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_seen(where: str, value: float) -> None:
    geometry, images, output = seen()
    (images if where == "images" else output)[1, 0, 2, 2] = value
    assert not bool(observe(HebbianPCA(), geometry, images, output).finite)


def test_terms_are_means_over_the_sites() -> None:
    geometry, images, output = seen()
    rule = HebbianPCA()
    weight = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    once = observe(rule, geometry, images, output)
    for one, two in zip(terms(rule, once, weight), terms(rule, once + once, weight), strict=True):
        torch.testing.assert_close(one, two)
