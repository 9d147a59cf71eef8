"""Diffusion trainers: losses by the formulas, gradients, and learning."""

from __future__ import annotations

import copy
import functools
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from monai_semiseg.engines.diffusion_cotraining import DiffusionCoTrainer
from monai_semiseg.engines.diffusion_pretraining import CollapseMonitor, DiffusionPretrainer
from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.class_alignment import reorder_classes
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher, rounds_as_text
from monai_semiseg.networks.diffusion_unet import TimeConditionedUNet
from monai_semiseg.transforms.mixing import box_masks

CLASSES = 3
FEATURES = (4, 4, 8, 8, 16, 4)
LOSS = DiceCELoss(to_onehot_y=True, softmax=True)
Batch = Callable[..., dict[str, Tensor]]


@pytest.fixture
def batch(batch: Batch) -> Batch:
    """Create more unlabelled squares than labelled ones, with less noise."""
    return functools.partial(batch, count=5, noise=0.1)


def teacher(dims: int = 2, steps: int = 1) -> DiffusionTeacher:
    nets = [
        TimeConditionedUNet(dims, 1 + CLASSES, out, FEATURES, embedding=8) for out in (CLASSES, 1)
    ]
    return DiffusionTeacher(nets[0], nets[1], CLASSES, steps=steps)


def pretrainer(
    epochs: int = 1, batches: Sequence[dict[str, Tensor]] = (), **settings: Any
) -> DiffusionPretrainer:
    torch.manual_seed(0)
    made = settings.pop("diffusion", None) or teacher(settings.pop("dims", 2))
    return DiffusionPretrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        epoch_length=len(batches) or 1,
        network=made,
        train_data_loader=batches,
        optimizer=torch.optim.Adam(made.parameters(), 3e-3),
        **settings,
    )


def cotrainer(
    dims: int = 2, epochs: int = 1, batches: Sequence[dict[str, Tensor]] = (), **settings: Any
) -> Any:
    torch.manual_seed(0)
    student = BasicUNet(dims, 1, CLASSES, FEATURES)
    made = settings.pop("diffusion", None) or teacher(dims)
    trained = [*student.parameters(), *made.parameters()]
    settings = {"teacher": copy.deepcopy(student), "momentum": 0.9, "aligned": False, **settings}
    trainer = DiffusionCoTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        epoch_length=len(batches) or 1,
        network=student,
        train_data_loader=batches,
        optimizer=torch.optim.Adam(trained, 3e-3),
        loss_function=LOSS,
        diffusion_teacher=made,
        **settings,
    )
    trainer.state.iteration = 1
    return trainer


def gradient(net: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in net.parameters())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("discrete", [True, False])
def test_the_cycle_reaches_both_pathways(dims: int, discrete: bool, batch: Batch) -> None:
    trainer = pretrainer(dims=dims, discrete=discrete, balance_weight=0.0)
    loss, none = trainer.losses({"image": batch(dims)["image"]})
    assert none is None
    loss.backward()  # type: ignore[no-untyped-call]
    assert gradient(trainer.teacher.mask_network) and gradient(trainer.teacher.image_network)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_masks_start_as_often_from_noise_as_in_testing(steps: int) -> None:
    trainer = pretrainer(diffusion=teacher(steps=steps))
    torch.manual_seed(1)
    noisy, _, timesteps = trainer._beginning(torch.zeros(256, 1, 32, 32))
    fresh = timesteps == trainer.teacher.last
    assert float(fresh.float().mean()) == pytest.approx(1 / steps, abs=0.1)
    assert (
        float(noisy[fresh].std()) == pytest.approx(1.0, abs=0.05)
        and abs(float(noisy[fresh].mean())) < 0.05
    )
    for t in timesteps[~fresh][:5].tolist():  # the others are its own masks, noised by the schedule
        a = float(trainer.teacher.schedule.alphas_cumprod[t])
        assert 0.9 * (1 - a) < float(noisy[timesteps == t].var()) < 1.1


def test_the_pretraining_learns_and_a_label_changes_nothing(
    caplog: pytest.LogCaptureFixture, batch: Batch
) -> None:
    ends: list[dict[str, Tensor]] = []
    seen: list[float] = []
    for labelled in (True, False):
        batches = [
            {k: v for k, v in batch(seed=s).items() if labelled or k != "label"} for s in range(6)
        ]
        trainer = pretrainer(8, batches, train_handlers=[CollapseMonitor()])
        if labelled:
            trainer.add_event_handler(
                Events.ITERATION_COMPLETED, lambda e: seen.append(float(e.state.output["loss"]))
            )
        trainer.run()
        ends.append(copy.deepcopy(trainer.teacher.state_dict()))
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
    assert sum(seen[-6:]) < 0.7 * sum(seen[:6])


@pytest.mark.parametrize(
    ("bias", "word"), [((9.0, 0.0, 0.0), "collapsed"), ((0.0, 0.0, 0.0), "undecided")]
)
def test_the_monitor_warns(
    bias: tuple[float, ...], word: str, caplog: pytest.LogCaptureFixture, batch: Batch
) -> None:
    trainer = pretrainer(batches=[batch()], train_handlers=[CollapseMonitor()])
    with torch.no_grad():
        trainer.teacher.mask_network.final_conv.weight.zero_()
        trainer.teacher.mask_network.final_conv.bias.copy_(torch.tensor(bias))
    with caplog.at_level(logging.WARNING):
        trainer.run()
    assert word in caplog.text and len([r for r in caplog.records if "mask" in r.getMessage()]) == 1


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("labelled_boxes", [0.0, 1.0])
def test_the_losses_are_the_formulas(dims: int, labelled_boxes: float, batch: Batch) -> None:
    """Compare S and M with targets computed scan by scan, without rounds, draws repeated."""
    trainer = cotrainer(dims, rounds=0, own_share=0.25, labelled_boxes=labelled_boxes)
    data = batch(dims)
    student = trainer.network.eval()
    made = trainer.diffusion_teacher
    torch.manual_seed(5)
    supervised, free = trainer.losses(data)
    torch.manual_seed(5)
    with torch.no_grad():
        said = made.sample(data["weak"])
        own = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)
    boxes = box_masks(data["strong"], 0.3, 0.8)
    torch.rand(len(boxes))
    truth = torch.stack([data["label"][:, 0] == c for c in range(CLASSES)], 1).float()
    mixed = []
    for_student = []
    for_teacher = []
    count = len(data["strong"])
    known = len(data["image"])
    for i, box in enumerate(boxes):
        other = i % known if labelled_boxes else (i + 1) % count
        images = (data["image"] if labelled_boxes else data["strong"])[other]
        mixed.append(torch.where(box, images, data["strong"][i]))
        wanted = [0.75 * said + 0.25 * own, 0.75 * own + 0.25 * said]
        for target, into in zip(wanted, (for_student, for_teacher), strict=True):
            into.append(
                torch.where(box, truth[other] if labelled_boxes else target[other], target[i])
            )
    expected = LOSS(student(data["image"]), data["label"])
    logits = torch.log_softmax(student(torch.stack(mixed)), 1)
    pull = -(torch.stack(for_student) * logits).sum(1).mean()
    labelled = made.mask_logits(made.start(data["image"]), data["image"], torch.full((known,), 999))
    start = made.start(data["strong"])
    other = torch.log_softmax(
        made.mask_logits(start, torch.stack(mixed), torch.full((count,), 999)), 1
    )
    push = -(torch.stack(for_teacher) * other).sum(1).mean()
    torch.testing.assert_close(supervised, expected + LOSS(labelled, data["label"]))
    torch.testing.assert_close(free, pull + push)


@pytest.mark.parametrize("dims", [2, 3])
def test_pseudo_labels_carry_no_gradient(dims: int, batch: Batch) -> None:
    trainer = cotrainer(dims, rounds=2)
    _, free = trainer.losses(batch(dims))
    free.backward()
    assert gradient(trainer.network) and gradient(trainer.diffusion_teacher.mask_network)
    assert not gradient(trainer.diffusion_teacher.image_network) and not gradient(trainer.teacher)
    trainer.optimizer.zero_grad()
    supervised, _ = trainer.losses(batch(dims))
    supervised.backward()
    assert gradient(trainer.diffusion_teacher.image_network)


def test_the_students_loss_does_not_move_the_teacher(batch: Batch) -> None:
    trainer = cotrainer(rounds=1)
    data = batch()
    target = torch.softmax(torch.randn(3, CLASSES, 32, 32), 1)
    mixed = data["strong"]
    _, pull = trainer._student(data, mixed, target, torch.ones(3, 1, 32, 32))
    pull.backward()
    assert gradient(trainer.network) and not gradient(trainer.diffusion_teacher)
    assert not trainer._student(data, mixed, target, torch.zeros(3, 1, 32, 32))[
        1
    ].any()  # nobody agrees: nothing counts


def test_rounds_run_every_so_often(batch: Batch) -> None:
    trainer: Any = cotrainer(rounds=2, rounds_every=3)
    counts: list[int] = []
    real = trainer.diffusion_teacher.rounds
    trainer.diffusion_teacher.rounds = lambda images, count, *more: (
        counts.append(count),
        real(images, count, *more),
    )[1]
    for iteration in range(1, 7):
        trainer.state.iteration = iteration
        trainer.losses(batch())
    assert counts == [0, 0, 2, 0, 0, 2]


def test_an_epoch_says_what_its_rounds_changed(
    batch: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    """Compare the log with shares counted mask by mask, over the steps that run rounds."""
    trainer: Any = cotrainer(batches=[batch(seed=s) for s in range(2)], rounds=2)
    shares: list[list[float]] = []
    real = trainer.diffusion_teacher.rounds

    def watched(images: Tensor, count: int, *more: Any) -> Any:
        masks, seen = real(images, count, *more)
        names = [mask.argmax(1).numpy() for mask in masks]
        pairs = itertools.pairwise(names)
        shares.append([float((one != two).mean()) for one, two in pairs])
        return masks, seen

    trainer.diffusion_teacher.rounds = watched
    with caplog.at_level("INFO"):
        trainer.run()
    means = [sum(of) / len(of) for of in zip(*shares, strict=True)]
    assert len(means) == 2 and sum(means) > 0
    assert f"rounds change {means[0]:.2%}, {means[1]:.2%} of the pseudo-labels" in caplog.text


def test_a_round_that_changes_next_to_nothing_is_named() -> None:
    assert rounds_as_text([0.02, 0.004]).endswith("less than 1%, next to nothing, in round 2")
    assert rounds_as_text([0.02]) == "rounds change 2.00% of the pseudo-labels"


def test_classes_are_aligned_before_the_first_step(batch: Batch) -> None:
    """Check that a teacher's classes are renamed, and that an epoch keeps them."""
    trainer = cotrainer(epochs=20, batches=[batch(seed=s) for s in range(2)], rounds=0)
    trainer.run()
    grown = trainer.diffusion_teacher
    good = dice(grown.sample(batch(seed=9)["weak"]), batch(seed=9)["truth"])
    assert good > 0.9
    reorder_classes(grown, [1, 2, 0])
    assert dice(grown.sample(batch(seed=9)["weak"]), batch(seed=9)["truth"]) < 0.5 * good
    again = cotrainer(diffusion=grown, aligned=True, batches=[batch(seed=s) for s in range(2)])
    again.before_first_step()
    assert dice(grown.sample(batch(seed=9)["weak"]), batch(seed=9)["truth"]) > 0.95 * good


def dice(probability: Tensor, label: Tensor) -> float:
    found, truth = probability.argmax(1) > 0, label[:, 0] > 0
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


@pytest.mark.parametrize(
    "more",
    [
        {"rounds": 0},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"momentum": 0.0}, marks=pytest.mark.slow),
        pytest.param({"agreement": False}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_it_learns(more: dict[str, Any], batch: Batch) -> None:
    trainer = cotrainer(
        epochs=20, batches=[batch(seed=s) for s in range(3)], ramp_iterations=30, **more
    )
    losses: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: losses.append(float(e.state.output["loss"]))
    )
    trainer.run()
    assert sum(losses[-6:]) < 0.75 * sum(losses[:6])
    with torch.no_grad():
        found = torch.softmax(trainer.network.eval()(batch(seed=9)["weak"]), 1)
    assert dice(found, batch(seed=9)["truth"]) > 0.8


@pytest.mark.parametrize(
    "bad",
    [
        {"rounds": -1},
        {"rounds_every": 0},
        {"alignment_batches": 0},
        {"own_share": 2},
        {"labelled_boxes": -1},
    ],
    ids=str,
)
def test_bad_cotraining_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        cotrainer(**bad)


@pytest.mark.parametrize(
    "bad", [{"bottleneck": 0}, {"lowest_noise": 1.0}, {"least_share": 0.5}], ids=str
)
def test_bad_pretraining_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        pretrainer(**bad)
