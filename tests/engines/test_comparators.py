"""Trainers of all comparators: gradients, learning, and the same weights again."""

from __future__ import annotations

import pytest
import torch

from monai_semiseg import engines
from monai_semiseg.engines.mean_teacher import TeacherTrainer
from monai_semiseg.errors import ConfigError
from tests.engines.comparator_builders import Batch, Method, build, started

# They learn decisions, which entropy alone does not say.
HARD = {"cross_pseudo", "weak_to_strong", "copy_paste"}
METHODS: dict[str, Method] = {
    "supervised": engines.SemiSupervisedTrainer,
    "entropy": engines.EntropyMinimisationTrainer,
    "mean_teacher": engines.MeanTeacherTrainer,
    "uncertainty_aware": engines.UncertaintyAwareTrainer,
    "weak_to_strong": engines.WeakToStrongTrainer,
    "copy_paste": engines.BidirectionalCopyPasteTrainer,
    "cross_pseudo": engines.CrossPseudoSupervisionTrainer,
    "cross_consistency": engines.CrossConsistencyTrainer,
    "pyramid": engines.PyramidConsistencyTrainer,
    "dual_task": engines.DualTaskConsistencyTrainer,
    "label_propagation": engines.LabelPropagationTrainer,
}
TEACHERS = {name for name, method in METHODS.items() if issubclass(method, TeacherTrainer)}
UNLABELLED = [name for name in METHODS if name != "supervised"]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", UNLABELLED)
def test_gradient_reaches_the_network_and_no_teacher(name: str, dims: int, batch: Batch) -> None:
    trainer = started(
        METHODS[name], dims, **({"threshold": 0.0} if name == "weak_to_strong" else {})
    )
    _, loss = trainer.losses(batch(dims))
    assert loss is not None and loss.ndim == 0 and torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    first, last = trainer.network.conv_0.conv_0.conv.weight, trainer.network.final_conv.weight
    assert first.grad is not None and first.grad.any()
    # The main output of CCT is a target: its decoder learns from labels alone.
    assert (last.grad is not None and bool(last.grad.any())) is (name != "cross_consistency")
    if name in TEACHERS:
        assert all(parameter.grad is None for parameter in trainer.teacher.parameters())


@pytest.mark.parametrize("name", UNLABELLED)
def test_labels_of_unlabelled_scans_are_not_there_to_be_used(name: str, batch: Batch) -> None:
    trainer = started(METHODS[name])
    known = {
        "image",
        "label",
        "weak",
        "strong",
        *({"propagated"} if name == "label_propagation" else ()),
    }
    trainer.losses({key: value for key, value in batch().items() if key in known})
    with pytest.raises(ConfigError, match="paired_samples"):
        trainer.losses({key: value for key, value in batch().items() if key in ("image", "label")})


@pytest.mark.parametrize("name", [n for n in UNLABELLED if n not in HARD])
def test_the_unlabelled_loss_alone_goes_down(name: str, batch: Batch) -> None:
    """Check that the unlabelled loss alone falls by a fifth, with a constant or unused teacher."""
    torch.manual_seed(1)
    still = {"teacher_share": 0.0} if name == "label_propagation" else {}
    trainer = started(METHODS[name], **still, **({"momentum": 0.9999} if name in TEACHERS else {}))
    values = []
    data = batch()
    for _ in range(40):
        trainer.optimizer.zero_grad()
        torch.manual_seed(2)  # the same noise each time, so that only learning changes the value
        loss = trainer.losses(data)[1]
        assert loss is not None
        loss.backward()  # type: ignore[no-untyped-call]
        trainer.optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.slow
def test_learns_the_toy_problem(name: str, batch: Batch) -> None:
    """Check that unlabelled scans are segmented after training with both losses."""
    batches = [batch(2, seed) for seed in range(4)]
    trainer = build(
        METHODS[name],
        batches=batches * 20,  # in one epoch: each begins with a comparison of the gradients
        lr=1e-2,
        unlabelled_weight=0.3,
        ramp_iterations=30,
    )
    trainer.run()
    judged = (trainer.teacher if name in TEACHERS else trainer.network).eval()
    truth = batch(2, 7)
    with torch.no_grad():
        predicted = judged(truth["image"]).argmax(1, keepdim=True)
    assert float((predicted == truth["label"]).float().mean()) > 0.93
    assert trainer.state.iteration == 80


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_weights(name: str, batch: Batch) -> None:
    ends = []
    for _ in range(2):
        trainer = build(METHODS[name], batches=[batch(2, 0), batch(2, 1)])
        trainer.run()
        ends.append(trainer.network.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
