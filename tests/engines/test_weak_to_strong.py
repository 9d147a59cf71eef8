"""Weak to strong consistency against loops and formulas: confidence, CutMix, soft targets."""

from __future__ import annotations

import pytest
import torch

from monai_semiseg import engines
from tests.engines.comparator_builders import CLASSES, Batch, started


def test_confidence_and_cutmix_against_a_loop(
    monkeypatch: pytest.MonkeyPatch, batch: Batch
) -> None:
    trainer = started(engines.WeakToStrongTrainer, threshold=0.4, box=(0.5, 0.5))
    data = batch()
    seen = {}
    monkeypatch.setattr(
        trainer, "pseudo_loss", lambda *args: seen.update(args=args) or args[0].sum()
    )
    inputs = []
    trainer.network.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    trainer.losses(data)
    _, label, weight = seen["args"]
    with torch.no_grad():
        q = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)
    strong = inputs[0][2:]
    for n in range(2):
        for i in range(32):
            for j in range(32):
                pasted = not torch.equal(strong[n, 0, i, j], data["strong"][n, 0, i, j])
                source = (n + 1) % 2 if pasted else n
                assert strong[n, 0, i, j] == data["strong"][source, 0, i, j]
                assert label[n, 0, i, j] == q[source, :, i, j].argmax()
                assert weight[n, 0, i, j] == float(q[source, :, i, j].max() >= 0.4)
    assert 200 < (strong != data["strong"]).sum() / 2 < 300, "a box of half of each side"


def test_soft_targets_against_the_formula(batch: Batch) -> None:
    """Compare with the cross-entropy with the teacher's mixed probabilities over all voxels."""
    trainer = started(engines.WeakToStrongTrainer, soft=True, box=(1.0, 1.0))
    data = batch()
    loss = trainer.losses(data)[1]
    with torch.no_grad():
        q = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)[
            [1, 0]
        ]  # the box is the whole patch: samples swap
        free = trainer.network(torch.cat([data["image"], data["strong"][[1, 0]]]))[2:]
    slow = -sum(q[:, c] * torch.log_softmax(free, 1)[:, c] for c in range(CLASSES))
    torch.testing.assert_close(loss, torch.as_tensor(slow).mean())


def test_the_soft_dice_term_against_the_formula(batch: Batch) -> None:
    """Check that it is least where prediction and target agree, also where both are unsure."""
    plain = started(engines.WeakToStrongTrainer, soft=True, box_probability=0.0)
    both = started(engines.WeakToStrongTrainer, soft=True, dice=True, box_probability=0.0)
    logits = torch.randn(2, CLASSES, 8, 8)
    target = torch.softmax(torch.randn(2, CLASSES, 8, 8), 1)
    p = torch.softmax(logits, 1)
    slow = 0.0
    for c in range(1, CLASSES):
        overlap = sum(
            min(float(a), float(b))
            for a, b in zip(p[:, c].flatten(), target[:, c].flatten(), strict=True)
        )
        slow += (1 - 2 * overlap / float((p[:, c] + target[:, c]).sum())) / (CLASSES - 1)
    added = float(both.agreement(logits, target) - plain.agreement(logits, target))
    assert added == pytest.approx(slow, rel=1e-4)
    agreed = both.agreement(target.log(), target) - plain.agreement(target.log(), target)
    assert float(agreed) == pytest.approx(0, abs=1e-5)
