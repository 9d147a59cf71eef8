"""Local learning attached to whole stock networks."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.calibration import calibrate
from monai_semiseg.hebbian.diagnostics import collapse_warning, draw_filters, mean_cosine, scalars
from monai_semiseg.hebbian.geometry import Geometry
from monai_semiseg.hebbian.learner import HebbianLearner
from monai_semiseg.hebbian.plasticity import observe
from monai_semiseg.hebbian.rules import HebbianPCA, Rule, SoftHebb, SoftWinnerTakeAll
from tests.two_processes import in_two_processes

from .test_layers import NETWORKS

PREPARED = {"centre": True, "standardise": True}
SIZE = {"SwinUNETR": 64, "UNETR": 32, "BasicUNet": 32}


def images(name: str = "BasicUNet", count: int = 2) -> Tensor:
    torch.manual_seed(3)
    size = SIZE.get(name, 16)
    smooth = nn.functional.interpolate(
        torch.randn(count, 1, 4, 4, 4), (size,) * 3, mode="trilinear"
    )
    return smooth + 0.3 * torch.randn(count, 1, size, size, size)


def network(name: str = "BasicUNet") -> nn.Module:
    torch.manual_seed(5)
    return NETWORKS[name]()


def learn(
    net: nn.Module, rule: Rule, steps: int = 3, rate: float = 0.1, **settings: object
) -> HebbianLearner:
    learner = HebbianLearner(net, rule, **settings)
    learner.prepare()
    learner.attach()
    for step in range(steps):
        with torch.no_grad():
            net(images() + 0.01 * step)
        learner.step(rate)
    return learner


@pytest.mark.parametrize("name", NETWORKS)
def test_stock_networks_keep_their_keys_and_every_chosen_layer_moves(name: str) -> None:
    net = network(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    modules = [type(module) for module in net.modules()]
    learner = HebbianLearner(net, HebbianPCA())
    learner.prepare()
    learner.attach()
    prepared = {key: layer.weight.clone() for key, layer in learner.layers.items()}
    net.train()
    with torch.no_grad():
        net(images(name))
    observed = set(learner.sums)
    change = learner.step(0.1)
    assert list(net.state_dict()) == list(before) and [type(m) for m in net.modules()] == modules
    learner.detach()
    assert 0 < float(change) < 1
    for key, layer in learner.layers.items():
        moved = not torch.allclose(layer.weight, prepared[key], atol=1e-5)
        # Filters of one number are 1 or -1 from the start.
        one_dimensional = layer.in_channels * layer.weight[0, 0].numel() == 1
        if not one_dimensional:
            assert moved == (key in observed), key
    # By identity, because DynUNet names layers twice.
    learned: set[int] = set()
    for layer in learner.layers.values():
        learned.update(map(id, layer.parameters()))
    untouched = [
        key for key, p in net.named_parameters(remove_duplicate=False) if id(p) not in learned
    ]
    assert all(torch.equal(before[key], net.state_dict()[key]) for key in untouched) and untouched
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("rule", [SoftWinnerTakeAll(), HebbianPCA()], ids=repr)
@pytest.mark.parametrize("transposed", ["swap", "per_tap"])
def test_filters_stay_on_the_sphere(rule: Rule, transposed: str) -> None:
    learner = learn(network(), rule, transposed=transposed)
    for name, layer in learner.layers.items():
        for bank in learner.forms[name].banks(layer.weight):
            torch.testing.assert_close(
                bank.flatten(1).norm(dim=1), torch.ones(len(bank)), rtol=0, atol=1e-5
            )
        assert layer.bias is None or not layer.bias.any()


def test_patches_are_centred_and_responses_standardised_unless_asked_otherwise() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.Conv2d(4, 1, 1))
    batch = torch.rand(2, 1, 9, 9) + 3
    geometry = Geometry.of(net[0])
    rule = HebbianPCA()
    for asked in ({}, {"centre": False}, {"standardise": False}):
        learner = HebbianLearner(net, rule, include=("0",), **asked)
        learner.attach()
        with torch.no_grad():
            output = net[0](batch)
        (found,) = learner.sums["0"]
        learner.detach()
        right = observe(rule, geometry, batch, output, **{**PREPARED, **asked})
        torch.testing.assert_close(found.correlation, right.correlation)


def test_soft_hebb_comes_to_length_one_by_itself() -> None:
    learner = learn(network(), SoftHebb(radius=3.0), steps=25, rate=0.4)
    lengths = torch.cat(
        [
            layer.weight.detach().flatten(1).norm(dim=1)
            for name, layer in learner.layers.items()
            if "deconv" not in name
        ]
    )
    # They begin at a length of 3.
    assert lengths.mean() < 1.8
    assert lengths.max() <= 3.001
    assert lengths.min() > 0.9


@pytest.mark.parametrize("rule", [SoftHebb(radius=3.0), SoftWinnerTakeAll()], ids=repr)
def test_prepared_filters_have_the_rules_length(rule: Rule) -> None:
    learner = HebbianLearner(network(), rule)
    learner.prepare()
    for name, layer in learner.layers.items():
        for bank in learner.forms[name].banks(layer.weight):
            lengths = bank.flatten(1).norm(dim=1)
            torch.testing.assert_close(lengths, torch.full_like(lengths, rule.radius))
        if layer.bias is not None:
            assert not layer.bias.any()


def test_a_filter_of_zeros_stays_one() -> None:
    learner = HebbianLearner(network(), SoftWinnerTakeAll(), include=["conv_0.conv_0"])
    (layer,) = learner.layers.values()
    with torch.no_grad():
        layer.weight[1] = 0
    learner.prepare()
    lengths = layer.weight.flatten(1).norm(dim=1).tolist()
    assert lengths == pytest.approx([1, 0, 1, 1], abs=1e-6)


def test_a_step_says_how_far_it_moved() -> None:
    """Compare with the mean change of the layers, relative to the weights before, once bounded."""
    net = network()
    learner = HebbianLearner(net, HebbianPCA(), include=["conv_0.conv_0", "down_1.convs.conv_0"])
    learner.prepare()
    with torch.no_grad():
        for layer in learner.layers.values():
            layer.weight *= 2
    learner.attach()
    net(images())
    before = {name: layer.weight.detach().clone() for name, layer in learner.layers.items()}
    assert len(before) == 2
    found = learner.step(0.1)
    moved = [
        float((layer.weight - before[name]).norm() / before[name].norm())
        for name, layer in learner.layers.items()
    ]
    assert float(found) == pytest.approx(sum(moved) / 2)
    reports = learner.reports()
    assert [reports[name].change for name in before] == pytest.approx(moved)


def test_no_graph_is_built() -> None:
    net = network()
    learner = HebbianLearner(net, HebbianPCA())
    learner.attach()
    net(images())  # even where the caller forgot no_grad
    learner.step(0.1)
    for sums in learner._last.values():
        assert not any(one.correlation.requires_grad for one in sums)
    assert all(p.grad is None for p in net.parameters())


def test_steps_add_up_passes_and_clear_them() -> None:
    net = network()
    learner = HebbianLearner(net, HebbianPCA(), include=["conv_0.conv_0"])
    learner.attach()
    with torch.no_grad():
        net(images())
        first = float(learner.sums["conv_0.conv_0.conv"][0].count)
        net(images())
    assert float(learner.sums["conv_0.conv_0.conv"][0].count) == 2 * first
    learner.step(0.1)
    with pytest.raises(ConfigError, match="without a forward pass"):
        learner.step(0.1)


def test_shuffled_control_moves_as_far_and_learns_nothing() -> None:
    true, shuffled = (learn(network(), HebbianPCA(), steps=1, shuffled=s) for s in (False, True))
    for name in true.layers:
        a, b = true.layers[name].weight.detach(), shuffled.layers[name].weight.detach()
        start = true.start[name]
        if a[0].numel() > 4:
            assert not torch.allclose(a, b)
            assert (a - start).norm() == pytest.approx(float((b - start).norm()), rel=0.5)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    alone = network()
    learner = HebbianLearner(alone, SoftWinnerTakeAll())
    _steps(learner, alone, images(count=4))
    in_two_processes(_rank, tmp_path)
    for rank in range(2):
        weights = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for key, value in alone.state_dict().items():
            torch.testing.assert_close(weights[key], value, rtol=1e-3, atol=1e-4)


def _steps(learner: HebbianLearner, net: nn.Module, batch: Tensor) -> None:
    learner.prepare()
    learner.attach()
    for _ in range(3):
        with torch.no_grad():
            net(batch)
        learner.step(0.1)
    learner.detach()
    calibrate(net, batch)


def _rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    net = network()
    _steps(HebbianLearner(net, SoftWinnerTakeAll()), net, images(count=4)[2 * rank : 2 * rank + 2])
    torch.save(net.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_activations_that_are_not_finite() -> None:
    net = network()
    learner = HebbianLearner(net, HebbianPCA())
    learner.attach()
    with torch.no_grad():
        net(images() * float("nan"))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(
        ConfigError, match=r"layer conv_0\.conv_0\.conv saw numbers that are not finite"
    ):
        learner.step(0.1)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_constant_images_warn_once(caplog: pytest.LogCaptureFixture) -> None:
    net = network()
    learner = HebbianLearner(net, SoftWinnerTakeAll(), include=["conv_0.conv_0"])
    learner.attach()
    learner.prepare()
    for _ in range(2):
        with torch.no_grad(), caplog.at_level(logging.WARNING):
            net(torch.zeros(1, 1, 32, 32, 32))
        learner.step(0.1)
    assert [r.message for r in caplog.records] == [
        "1 layers (conv_0.conv_0.conv first) saw constant input: is the batch empty or masked?"
    ]
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


def test_reports_and_collapse(tmp_path: Path) -> None:
    learner = learn(network(), HebbianPCA())
    reports = learner.reports()
    assert set(reports) == set(learner.layers)
    assert all(0 <= value <= 2 for value in scalars(reports).values())
    layer = learner.layers["down_1.convs.conv_0.conv"]
    with torch.no_grad():
        layer.weight.copy_(layer.weight[:1].expand_as(layer.weight))
    assert mean_cosine(layer.weight) == pytest.approx(1.0)
    assert "first down_1.convs.conv_0.conv (effective rank 25%" in str(
        collapse_warning(learner.reports())
    )
    draw_filters(learner.layers["conv_0.conv_0.conv"].weight, tmp_path / "filters.png")
    assert (tmp_path / "filters.png").read_bytes()[:4] == b"\x89PNG"


def test_mean_cosine_against_pairs() -> None:
    filters = torch.randn(5, 2, 3)
    pairs = [
        abs(float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), 0)))
        for a, b in itertools.combinations(filters, 2)
    ]
    assert mean_cosine(filters) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_a_layer_that_does_not_run_stays_as_it_was_drawn() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 4, 3)
            self.idle = nn.Conv2d(4, 4, 1)
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.last(self.first(x))
            return found

    network = Idle()
    drawn = {name: value.clone() for name, value in network.state_dict().items()}
    learner = HebbianLearner(network, HebbianPCA())
    learner.prepare()
    learner.attach()
    network(torch.randn(2, 1, 8, 8))
    learner.step(0.1)
    now = network.state_dict()
    same = {name for name, value in drawn.items() if torch.equal(value, now[name])}
    assert same == {"idle.weight", "idle.bias", "last.weight", "last.bias"}


def test_an_optimizer_takes_the_rules_update_as_the_gradient() -> None:
    plain, optimised = network(), network()
    start = {name: value.clone() for name, value in plain.state_dict().items()}
    rule = SoftHebb()  # its filters have no fixed length
    plain_learner = HebbianLearner(plain, rule)
    learner = HebbianLearner(optimised, rule)
    for one in (plain_learner, learner):
        one.attach()
        with torch.no_grad():
            one.network(images())
    plain_learner._bound = learner._bound = lambda name: None  # type: ignore[method-assign]
    plain_learner.step(1.0)
    learner.step(1.0, torch.optim.Adam(optimised.parameters(), lr=1e-3, eps=1e-30))
    for name in learner.layers:
        key = f"{name}.weight"
        update = plain.state_dict()[key] - start[key]
        moved = optimised.state_dict()[key] - start[key]
        # Adam's first step is the learning rate times the sign of the gradient.
        clear = update.abs() > 1e-4 * update.abs().max()
        torch.testing.assert_close(moved[clear], 1e-3 * update[clear].sign(), rtol=1e-2, atol=0)
    others = [name for name in start if name.removesuffix(".weight") not in learner.layers]
    assert all(torch.equal(start[name], optimised.state_dict()[name]) for name in others)
    assert all(value.grad is None for value in optimised.parameters())
