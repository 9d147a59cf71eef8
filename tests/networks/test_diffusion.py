"""Diffusion teacher: noise, steps, rounds and classes, each against the formula written out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.class_alignment import best_order, confusion, reorder_classes
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher, aggregated
from monai_semiseg.networks.diffusion_unet import TimeConditionedUNet

CLASSES = 3
FEATURES = (4, 4, 4, 4, 8, 4)


def pathway(dims: int, outputs: int, seed: int = 0) -> TimeConditionedUNet:
    """Create a network whose output depends on the timestep."""
    torch.manual_seed(seed)
    net = TimeConditionedUNet(dims, 1 + CLASSES, outputs, FEATURES, embedding=8)
    for layer in net.modulations.values():
        nn.init.normal_(layer.weight, std=0.3)  # type: ignore[arg-type]
    return net


def teacher(dims: int = 2, **settings: Any) -> DiffusionTeacher:
    return DiffusionTeacher(pathway(dims, CLASSES), pathway(dims, 1, 1), CLASSES, **settings)


def images(dims: int = 2, seed: int = 0) -> Tensor:
    return torch.randn((2, 1, *[32] * dims), generator=torch.Generator().manual_seed(seed))


class Seen(nn.Module):
    """Network that records its inputs and answers by a function."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.inputs: list[Tensor] = []
        self.times: list[list[int]] = []

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        self.inputs.append(x)
        self.times.append(timesteps.tolist())
        out: Tensor = self.answer(x, timesteps)
        return out


def levels(timesteps: int = 1000) -> Tensor:
    """Compute a_t of the cosine schedule (Nichol and Dhariwal, 2021), factor by factor."""
    curve = [
        torch.cos(torch.tensor((t / timesteps + 0.008) / 1.008 * torch.pi / 2)) ** 2
        for t in range(timesteps + 1)
    ]
    product = 1.0
    found = []
    for t in range(timesteps):
        product *= 1 - min(0.999, max(0.0, 1 - float(curve[t + 1] / curve[t])))
        found.append(product)
    return torch.tensor(found)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_new_network_is_the_stock_one_whatever_the_time(dims: int) -> None:
    ours = TimeConditionedUNet(dims, 1 + CLASSES, 2, FEATURES)
    stock = BasicUNet(dims, 1 + CLASSES, 2, FEATURES)
    stock.load_state_dict(
        {key: value for key, value in ours.state_dict().items() if key in stock.state_dict()}
    )
    x = torch.randn((2, 1 + CLASSES, *[32] * dims))
    for time in (0, 999):
        torch.testing.assert_close(ours(x, torch.tensor([time, 3])), stock(x))


def test_time_matters_for_its_own_sample_only() -> None:
    net = pathway(2, 2)
    x = torch.randn(2, 1 + CLASSES, 32, 32)
    one, other = net(x, torch.tensor([5, 700])), net(x, torch.tensor([900, 700]))
    assert not torch.allclose(one[0], other[0]) and torch.equal(one[1], other[1])


def test_noise_and_velocity_are_the_schedules() -> None:
    made = teacher()
    clean = images()
    noise = images(seed=1)
    for times in ((0, 999), (250, 500)):
        t = torch.tensor(times)
        a = levels()[t].reshape(2, 1, 1, 1)
        torch.testing.assert_close(
            made.noised(clean, t, noise), a.sqrt() * clean + (1 - a).sqrt() * noise
        )
    assert (
        float(levels()[-1]) < 1e-6
    )  # the last timestep is pure noise: testing starts where training did


def test_the_image_loss_is_the_velocitys() -> None:
    made = teacher()
    x = images()
    mask = torch.softmax(torch.randn(2, CLASSES, 32, 32), 1)
    torch.manual_seed(3)
    loss = made.image_loss(x, mask, lowest=0.4)
    torch.manual_seed(3)
    noise = torch.randn_like(x)
    t = torch.randint(int(0.4 * 999), 1000, (2,))
    a = levels()[t].reshape(2, 1, 1, 1)
    seen = torch.cat([a.sqrt() * x + (1 - a).sqrt() * noise, mask], 1)
    wanted = a.sqrt() * noise - (1 - a).sqrt() * x
    torch.testing.assert_close(loss, ((made.image_network(seen, t) - wanted) ** 2).mean())


def test_a_perfect_image_pathway_gives_the_image_back_and_a_bad_one_stays_in_range() -> None:
    x = images()
    made = teacher(round_level=0.5)
    a = levels()[int(0.5 * 999)]

    def perfect(seen: Tensor, _: Tensor) -> Tensor:
        noise = (seen[:, :1] - a.sqrt() * x) / (1 - a).sqrt()
        return a.sqrt() * noise - (1 - a).sqrt() * x

    mask = torch.zeros(2, CLASSES, 32, 32)
    made.image_network = Seen(perfect)
    torch.testing.assert_close(made.reconstruct(x, mask), x, atol=1e-4, rtol=1e-4)
    made.image_network = Seen(lambda seen, _: 1e4 * torch.ones_like(seen[:, :1]))
    back = made.reconstruct(x, mask)
    assert bool((back.amin((1, 2, 3)) >= x.amin((1, 2, 3))).all()) and bool(
        (back.amax() <= x.amax()).all()
    )


@pytest.mark.parametrize("steps", [1, 2, 4, 5])
def test_sampling_is_ddim_from_pure_noise(steps: int) -> None:
    made = teacher(steps=steps)
    x = images()
    asked = Seen(pathway(2, CLASSES))
    made.mask_network = asked
    found = made.sample(x, torch.Generator().manual_seed(7))
    a = levels()
    noisy = torch.randn((2, CLASSES, 32, 32), generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(asked.inputs[0][:, :CLASSES], noisy)
    for step in range(steps):
        t = 999 - step * (1000 // steps)
        assert asked.times[step] == [t, t]
        probability = torch.softmax(asked.answer(torch.cat([noisy, x], 1), torch.tensor([t, t])), 1)
        clean = 2 * probability - 1
        before = t - 1000 // steps
        left = a[before] if before >= 0 else torch.tensor(1.0)
        noise = (noisy - a[t].sqrt() * clean) / (1 - a[t]).sqrt()
        noisy = left.sqrt() * clean + (1 - left).sqrt() * noise
    torch.testing.assert_close(found, probability, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_same_seed_gives_the_same_mask(dims: int) -> None:
    made = teacher(dims, samples=2, seed=4).eval()
    with torch.no_grad():
        first = made(images(dims))
        torch.manual_seed(99)
        assert torch.equal(first, made(images(dims)))
        torch.testing.assert_close(first.exp().sum(1), torch.ones_like(first[:, 0]))
        made.seed = 5
        assert not torch.equal(first, made(images(dims)))


def test_the_mean_over_samples_is_that_of_probabilities() -> None:
    made = teacher(samples=3, seed=2)
    x = images()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        mean = sum(made.sample(x, generator) for _ in range(3)) / 3
        torch.testing.assert_close(made(x), torch.log(torch.as_tensor(mean)))


def test_rounds_are_chained() -> None:
    made = teacher()
    x = images()
    drawn, rebuilt = Seen(made.mask_network), Seen(made.image_network)
    made.mask_network = drawn
    made.image_network = rebuilt
    masks, seen = made.rounds(x, 3, torch.Generator().manual_seed(0))
    assert len(masks) == 4 and len(seen) == 3 and not masks[0].requires_grad
    shown = [given[:, CLASSES:] for given in drawn.inputs]
    assert torch.equal(shown[0], x) and all(
        torch.equal(a, b) for a, b in zip(shown[1:], seen, strict=True)
    )
    for j, given in enumerate(rebuilt.inputs):
        assert torch.equal(given[:, 1:], masks[j])  # each round starts from the mask before it
    means = [
        aggregated(made.rounds(x, count, torch.Generator().manual_seed(0))[0])[0]
        for count in range(4)
    ]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(means))


def test_aggregation() -> None:
    one = torch.tensor([[0.7, 0.3], [0.2, 0.8]]).T[None]
    two = torch.tensor([[0.6, 0.4], [0.9, 0.1]]).T[None]
    mean, agreement = aggregated([one, two])
    torch.testing.assert_close(mean, (one + two) / 2)
    assert agreement.tolist() == [[[1.0, 0.0]]]


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_matched_as_by_trying_every_order(seed: int) -> None:
    torch.manual_seed(seed)
    probability, label = (
        torch.softmax(torch.randn(2, 4, 9, 9), 1),
        torch.randint(0, 4, (2, 1, 9, 9)),
    )
    counts = confusion(probability, label)
    for row, column in itertools.product(range(4), repeat=2):
        assert (
            counts[row, column] == ((probability.argmax(1) == row) & (label[:, 0] == column)).sum()
        )
    dice = 2 * counts / (counts.sum(0)[None] + counts.sum(1)[:, None])
    scores = {
        order: sum(float(dice[row, column]) for column, row in enumerate(order))
        for order in itertools.permutations(range(4))
    }
    order, each = best_order(counts)
    assert scores[tuple(order)] == pytest.approx(max(scores.values())) and sum(
        each
    ) == pytest.approx(scores[tuple(order)])


@pytest.mark.parametrize("dims", [2, 3])
def test_classes_are_renamed_everywhere(dims: int) -> None:
    made = teacher(dims)
    order = [2, 0, 1]
    noisy = torch.randn((2, CLASSES, *[32] * dims))
    x = images(dims)
    t = torch.tensor([999, 400])
    mask = torch.softmax(noisy, 1)
    before = made.mask_logits(noisy, x, t), made.image_network(torch.cat([x, mask], 1), t)
    reorder_classes(made, order)
    torch.testing.assert_close(
        made.mask_logits(noisy[:, order], x, t), before[0][:, order], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        made.image_network(torch.cat([x, mask[:, order]], 1), t), before[1], atol=1e-5, rtol=1e-4
    )


def test_classes_of_other_networks_are_not_renamed() -> None:
    odd = DiffusionTeacher(nn.Linear(1, 1), nn.Linear(1, 1), 2)
    with pytest.raises(ConfigError, match="no convolution"):
        reorder_classes(odd, [1, 0])
    odd = DiffusionTeacher(pathway(2, 2), pathway(2, 1), 3)
    with pytest.raises(ConfigError, match="first and last layers"):
        reorder_classes(odd, [1, 0, 2])


@pytest.mark.parametrize(
    "bad", [{"classes": 1}, {"steps": 0}, {"steps": 2000}, {"samples": 0}, {"round_level": 0.8}]
)
def test_bad_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        DiffusionTeacher(
            **{"mask_network": pathway(2, 3), "image_network": pathway(2, 1), "classes": 3, **bad}
        )


def test_ignored_voxels_align_no_class() -> None:
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(2, 3, 5, 5, generator=generator)
    label = torch.randint(-1, 3, (2, 1, 5, 5), generator=generator)
    slow = torch.zeros(3, 3, dtype=torch.float64)
    for found, true in zip(probability.argmax(1).flatten(), label.flatten(), strict=True):
        if true >= 0:
            slow[found, true] += 1
    assert torch.equal(confusion(probability, label), slow)
