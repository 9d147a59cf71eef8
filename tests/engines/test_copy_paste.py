"""Bidirectional copy-paste against a loop."""

from __future__ import annotations

import pytest
import torch

from monai_semiseg import engines
from tests.engines.comparator_builders import Batch, started


def test_copy_paste_against_a_loop(monkeypatch: pytest.MonkeyPatch, batch: Batch) -> None:
    trainer = started(engines.BidirectionalCopyPasteTrainer, pseudo_weight=0.25)
    data = batch()
    calls = []
    inputs = []
    monkeypatch.setattr(trainer, "mixed_loss", lambda *args: calls.append(args) or args[0].sum())
    trainer.network.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    trainer.losses(data)
    with torch.no_grad():
        pseudo = trainer.teacher.eval()(data["weak"]).argmax(1, keepdim=True).float()
    _, first, second = inputs[0].chunk(3)
    for mixed, (_, label, weight) in zip((first, second), calls, strict=True):
        labelled = mixed == data["image"]
        assert 0.3 < labelled.float().mean() < 0.7
        assert torch.equal(mixed[~labelled], data["strong"][~labelled])
        assert torch.equal(label[labelled], data["label"][labelled]) and torch.equal(
            label[~labelled], pseudo[~labelled]
        )
        assert torch.equal(weight, torch.where(labelled, 1.0, 0.25))
    assert torch.equal(first == data["image"], second != data["image"])
