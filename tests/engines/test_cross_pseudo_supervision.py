"""Cross pseudo supervision: its formula, and two networks that differ."""

from __future__ import annotations

import copy

import torch

from monai_semiseg import engines
from tests.engines.comparator_builders import Batch, build, started


def test_cross_pseudo_supervision_against_the_formula(batch: Batch) -> None:
    trainer = started(engines.CrossPseudoSupervisionTrainer)
    data = batch()
    images = torch.cat([data["image"], data["strong"]])
    a, b = trainer.network(images), trainer.partner(images)
    log_a, log_b = torch.log_softmax(a, 1), torch.log_softmax(b, 1)
    slow = -(
        log_a.gather(1, b.argmax(1)[:, None]).mean() + log_b.gather(1, a.argmax(1)[:, None]).mean()
    )
    torch.testing.assert_close(trainer.losses(data)[1], slow)


def test_two_networks_from_one_file_are_moved_apart() -> None:
    trainer = build(engines.CrossPseudoSupervisionTrainer)
    trainer.partner.load_state_dict(trainer.network.state_dict())
    trainer.before_first_step()
    own, other = (
        trainer.network.conv_0.conv_0.conv.weight,
        trainer.partner.conv_0.conv_0.conv.weight,
    )
    assert 0.03 < float((own - other).std() / own.std()) < 0.3
    already = build(engines.CrossPseudoSupervisionTrainer)
    before = copy.deepcopy(already.partner.conv_0.conv_0.conv.weight)
    already.before_first_step()
    assert torch.equal(before, already.partner.conv_0.conv_0.conv.weight)
