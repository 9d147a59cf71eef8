"""What all trainers share: ramp and weight of the unlabelled loss, gradients, steps, settings."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import Tensor, nn

from monai_semiseg import engines
from monai_semiseg.engines.mean_teacher import TeacherTrainer
from monai_semiseg.engines.semisupervised import gaussian_ramp
from monai_semiseg.errors import ConfigError
from tests.engines.comparator_builders import Batch, Method, build


@pytest.mark.parametrize("length", [0, 1, 10, 400])
def test_ramp(length: int) -> None:
    values = [gaussian_ramp(t, length) for t in range(length + 5)]
    assert values == sorted(values) and values[length:] == [1.0] * 5
    if length:
        assert values[0] == pytest.approx(math.exp(-5)) and values[length // 2] == pytest.approx(
            math.exp(-5 * (1 - (length // 2) / length) ** 2)
        )


def test_the_ramp_and_the_weight_are_what_is_added(batch: Batch) -> None:
    trainer = build(
        engines.EntropyMinimisationTrainer,
        batches=[batch()] * 3,
        unlabelled_weight=0.7,
        ramp_iterations=4,
    )
    seen = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output)
    )
    trainer.run()
    assert len(seen) == 3
    for t, output in enumerate(seen, 1):
        total = output["supervised_loss"] + 0.7 * gaussian_ramp(t, 4) * output["unlabelled_loss"]
        assert float(output["loss"]) == pytest.approx(float(total), abs=1e-6)


def test_supervised_is_monais_trainer(batch: Batch) -> None:
    """Check that supervised training gives MONAI's own weights, bit for bit."""
    from monai.engines import SupervisedTrainer

    batches = [batch(2, seed) for seed in range(3)]
    ends = []
    ours = build(engines.SemiSupervisedTrainer, batches=batches)
    theirs = build(engines.SemiSupervisedTrainer, batches=batches)
    other = SupervisedTrainer(
        torch.device("cpu"),
        1,
        batches,
        theirs.network,
        theirs.optimizer,
        theirs.loss_function,
        epoch_length=3,
        decollate=False,
    )
    for trainer in (ours, other):
        trainer.run()
        ends.append(trainer.network.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_the_gradient_ratio_is_that_of_two_backward_passes(batch: Batch) -> None:
    trainer = build(
        engines.EntropyMinimisationTrainer,
        batches=[batch()] * 2,
        unlabelled_weight=0.7,
        ramp_iterations=9,
    )
    seen: list[dict[str, Tensor]] = []
    start = copy.deepcopy(trainer.network)

    def look(engine: Any) -> None:
        seen.append(dict(engine.state.output[0]))
        if engine.state.iteration == 1:
            start.load_state_dict(engine.network.state_dict())

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    trainer.run()
    assert "gradient_ratio" not in seen[0], "once an epoch"
    norms = []
    for number in (1, 0):
        other = build(engines.EntropyMinimisationTrainer, network=copy.deepcopy(start))
        other.network.train()
        other.losses(batch())[number].backward()
        squares = [(v.grad**2).sum() for v in other.network.parameters() if v.grad is not None]
        norms.append(float(torch.stack(squares).sum().sqrt()))
    slow = 0.7 * gaussian_ramp(2, 9) * norms[0] / norms[1]
    assert float(seen[1]["gradient_ratio"]) == pytest.approx(slow, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"autocast_dtype": "int8"}, "int8"),
        ({"autocast_dtype": "float16"}, "on a CPU"),
        ({"unlabelled_weight": -1.0}, "-1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(engines.SemiSupervisedTrainer, **settings)


class Linear(nn.Module):
    """Mean squared error to the label, a loss that is linear in the batch."""

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        return (logits - label).square().mean()


@pytest.mark.parametrize(
    "method",
    [engines.SemiSupervisedTrainer, engines.MeanTeacherTrainer],
    ids=["supervised", "mean_teacher"],
)
def test_accumulated_gradients_are_those_of_the_joined_batch(method: Method, batch: Batch) -> None:
    whole = [batch(seed=s) for s in range(3)]
    halves = [
        {key: value[n : n + 1] for key, value in one.items()}
        for one, n in itertools.product(whole, range(2))
    ]
    ends = []
    for batches, steps in ((whole, 1), (halves, 2)):
        quiet = {"noise": 0.0} if issubclass(method, TeacherTrainer) else {}
        trainer = build(method, batches=batches, accumulation_steps=steps, **quiet)
        trainer.loss_function = Linear()
        trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), 0.1)
        trainer.ramp_iterations = 0
        updates = []
        follow = trainer.after_step
        trainer.after_step = lambda n, follow=follow, updates=updates: (
            updates.append(n),
            follow(n),
        )[1]  # type: ignore[method-assign]
        trainer.run()
        assert len(updates) == 3  # a teacher moves with the steps, not with the batches
        ends.append(trainer.network.state_dict())
    if not issubclass(
        method, TeacherTrainer
    ):  # a teacher's weight depends on the number of the step
        for key, value in ends[0].items():
            torch.testing.assert_close(value, ends[1][key], atol=1e-5, rtol=1e-4)


def test_the_last_batch_of_an_epoch_steps_in_any_case(batch: Batch) -> None:
    trainer = build(
        engines.SemiSupervisedTrainer,
        batches=[batch(seed=s) for s in range(3)],
        accumulation_steps=2,
    )
    steps = []
    trainer.after_step = steps.append  # type: ignore[method-assign]
    trainer.run()
    assert steps == [2, 3]
