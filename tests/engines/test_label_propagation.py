"""Propagated labels as targets, and the share that the teacher has in them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_semiseg import engines
from monai_semiseg.engines.semisupervised import gaussian_ramp
from monai_semiseg.errors import ConfigError
from tests.engines.comparator_builders import Batch, build, started


@pytest.mark.parametrize("iteration", [1, 5, 10, 50])
def test_label_propagation_against_the_formula(iteration: int, batch: Batch) -> None:
    """Check that the target starts as the propagated labels and ends with the teacher's share."""
    trainer = started(
        engines.LabelPropagationTrainer,
        soft=True,
        teacher_share=0.4,
        teacher_ramp=10,
        box_probability=0.0,
    )
    trainer.state.iteration = iteration
    data = batch()
    loss = trainer.losses(data)[1]
    with torch.no_grad():
        taught = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)
        free = torch.log_softmax(trainer.network(torch.cat([data["image"], data["strong"]]))[2:], 1)
    share = 0.4 * gaussian_ramp(iteration, 10)
    p = data["propagated"]
    slow = 0.0
    for c, carried in enumerate((1 - p[:, 0] - p[:, 1], p[:, 0], p[:, 1])):
        slow -= float((((1 - share) * carried + share * taught[:, c]) * free[:, c]).mean())
    assert float(loss) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("wrong", [{"teacher_share": 1.5}, {"teacher_ramp": -1}])
def test_label_propagation_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not negative"):
        build(engines.LabelPropagationTrainer, **wrong)


def test_where_nothing_was_propagated_the_target_is_the_teachers(batch: Batch) -> None:
    trainer = started(engines.LabelPropagationTrainer, teacher_share=0.4)
    data = batch()
    complete = trainer.target(data)
    data["propagated"][:, :, :5] = torch.nan
    with torch.no_grad():
        taught = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)
    target = trainer.target(data)
    torch.testing.assert_close(target[:, :, :5], taught[:, :, :5])
    assert torch.equal(target[:, :, 5:], complete[:, :, 5:])
