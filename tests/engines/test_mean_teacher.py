"""Teachers that are moving averages: how they follow, and where they are too unsure to teach."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Events
from torch import Tensor

from monai_semiseg import engines
from tests.engines.comparator_builders import Batch, build, started


def test_teacher_starts_from_what_the_student_has_and_follows(batch: Batch) -> None:
    trainer = build(engines.MeanTeacherTrainer, batches=[batch()] * 2)
    with torch.no_grad():
        trainer.network.final_conv.bias.fill_(3.0)  # as if initial weights had been loaded
    means = []
    trainer.add_event_handler(
        Events.STARTED, lambda _: means.append(trainer.teacher.final_conv.bias.mean().item())
    )
    slow: list[Tensor] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda _: slow.append(trainer.network.final_conv.weight.detach().clone()),
    )
    trainer.run()
    assert means == [3.0]
    start = build(engines.MeanTeacherTrainer).network.final_conv.weight.detach()
    torch.testing.assert_close(trainer.teacher.final_conv.weight, (start + slow[0] + slow[1]) / 3)


def test_uncertain_voxels_do_not_count(batch: Batch) -> None:
    """Check that nothing is learned where the teacher gives all classes equal probability."""
    trainer = started(engines.UncertaintyAwareTrainer, ramp_iterations=10, noise=0.0)
    with torch.no_grad():
        for parameter in trainer.teacher.final_conv.parameters():
            parameter.zero_()
    images = batch()["strong"]
    torch.testing.assert_close(
        trainer.uncertainty(images), torch.full((2, 1, 32, 32), math.log(3)), atol=1e-4, rtol=0
    )
    trainer.state.iteration = 5
    assert float(trainer.losses(batch())[1]) == 0


@pytest.mark.slow
def test_a_compiled_network_trains_and_its_state_has_plain_names(batch: Batch) -> None:
    trainer = build(engines.MeanTeacherTrainer, compiled=True, batches=[batch(seed=0)])
    trainer.network = torch.compile(
        trainer.network._orig_mod, backend="eager"
    )  # no compiler is needed for this
    trainer.run()
    assert all(torch.isfinite(value).all() for value in trainer.teacher.state_dict().values())
    assert not any(key.startswith("_orig_mod") for key in trainer.teacher.state_dict())
    plain = build(engines.MeanTeacherTrainer, batches=[batch(seed=0)])
    plain.run()
    for key, value in plain.teacher.state_dict().items():
        torch.testing.assert_close(value, trainer.teacher.state_dict()[key], atol=1e-4, rtol=1e-3)
