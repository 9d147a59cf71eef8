"""Hebbian trainer: no labels, MONAI's events and handlers, bit-exact resume, calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from monai_semiseg.engines.hebbian import HebbianDiagnostics, HebbianTrainer
from monai_semiseg.errors import ConfigError
from monai_semiseg.handlers.checkpoint import TrainingCheckpoint
from monai_semiseg.hebbian.learner import HebbianLearner
from monai_semiseg.hebbian.rules import HebbianPCA
from monai_semiseg.samplers.seeded import BudgetSampler

EPOCHS = 3
LENGTH = 4


class Scans(Dataset[dict[str, Tensor]]):
    """Data set of scans without labels, which differ by position."""

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        return {
            "image": torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(position))
            + 1
        }


def trainer(
    folder: Path, learner: bool = True, resume: bool = False, adam: bool = False, **settings: Any
) -> HebbianTrainer:
    torch.manual_seed(1)
    net = BasicUNet(3, 1, 2, (4, 4, 4, 4, 4, 4))
    sampler = BudgetSampler(EPOCHS * LENGTH, 2)
    state: dict[str, Any] = {}
    if adam:
        state["optimizer"] = torch.optim.Adam(net.parameters(), lr=1e-3)
        state["lr_scheduler"] = torch.optim.lr_scheduler.StepLR(state["optimizer"], 2)
    checkpoint = TrainingCheckpoint(str(folder), net, state, samplers=[sampler], resume=resume)
    return HebbianTrainer(
        torch.device("cpu"),
        net,
        HebbianLearner(net, HebbianPCA()) if learner else None,
        DataLoader(Scans(), 2, sampler=sampler),
        EPOCHS,
        LENGTH,
        calibration_scans=4,
        train_handlers=[HebbianDiagnostics(str(folder), str(folder / "events")), checkpoint],
        **state,
        **settings,
    )


def outputs(net: nn.Module) -> list[Tensor]:
    """Return the outputs of all convolutions but the head on the last scans of the training."""
    found: list[Tensor] = []
    handles = [
        m.register_forward_hook(lambda _, __, y: found.append(y))
        for n, m in net.named_modules()
        if isinstance(m, nn.Conv3d | nn.ConvTranspose3d) and n != "final_conv"
    ]
    with torch.no_grad():
        net(torch.stack([Scans()[p]["image"] for p in range(20, 24)]))
    for handle in handles:
        handle.remove()
    return found


def test_scans_without_labels_in_calibrated_weights_out(tmp_path: Path) -> None:
    engine = trainer(tmp_path)
    changes = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: changes.append(float(e.state.output["loss"]))
    )
    engine.run()
    assert len(changes) == EPOCHS * LENGTH and changes[0] > changes[-1] > 0  # the rate falls
    fresh = BasicUNet(3, 1, 2, (4, 4, 4, 4, 4, 4))
    fresh.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    for y in outputs(fresh.train())[:4]:
        assert y.std((0, 2, 3, 4), correction=0).sub(1).abs().max() < 1e-2
    assert (tmp_path / "filters.png").is_file() and list((tmp_path / "events").iterdir())
    assert all(one.change > 0 for one in engine.reports.values())


@pytest.mark.parametrize(
    "settings",
    [{}, {"adam": True}, {"filter_lengths": "drawn"}],
    ids=["plain steps", "Adam", "drawn lengths"],
)
def test_killed_and_resumed_gives_the_same_bytes(tmp_path: Path, settings: dict[str, Any]) -> None:
    trainer(tmp_path / "whole", **settings).run()
    broken = trainer(tmp_path / "broken", **settings)

    @broken.on(Events.ITERATION_COMPLETED(once=LENGTH + 2))
    def _stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.run()
    trainer(tmp_path / "broken", resume=True, **settings).run()
    whole, again = (
        torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    # A third call has nothing left to do, and changes nothing.
    trainer(tmp_path / "broken", resume=True, **settings).run()
    once_more = torch.load(tmp_path / "broken" / "model.pt", weights_only=True)
    assert all(torch.equal(whole[key], once_more[key]) for key in whole)


def test_calibration_alone_is_the_control(tmp_path: Path) -> None:
    engine = trainer(tmp_path, learner=False)
    start = {key: value.clone() for key, value in engine.network.state_dict().items()}
    engine.run()
    weights = engine.network.state_dict()
    name = "conv_0.conv_0.conv.weight"
    ratio = (weights[name] / start[name]).flatten(1)
    torch.testing.assert_close(
        ratio, ratio[:, :1].expand_as(ratio)
    )  # directions are the random ones
    assert not torch.allclose(weights[name], start[name])


def test_calibration_can_be_left_out(tmp_path: Path) -> None:
    engine = trainer(tmp_path, filter_lengths="learned")
    engine.run()
    lengths = engine.network.conv_0.conv_0.conv.weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(4), rtol=0, atol=1e-5)


def test_filters_learn_directions_and_keep_the_lengths_that_were_drawn(tmp_path: Path) -> None:
    drawn = trainer(tmp_path / "drawn", filter_lengths="drawn")
    learned = trainer(tmp_path / "learned", filter_lengths="learned")
    start = {key: value.clone() for key, value in drawn.network.state_dict().items()}
    drawn.run()
    learned.run()
    ends = learned.network.state_dict()
    for key, weight in drawn.network.state_dict().items():
        if weight.ndim == 5 and "final_conv" not in key:
            channels = 1 if "deconv" in key else 0
            before, direction, after = (
                one.movedim(channels, 0).flatten(1) for one in (start[key], ends[key], weight)
            )
            lengths = before.norm(dim=1, keepdim=True) / direction.norm(dim=1, keepdim=True)
            torch.testing.assert_close(after, direction * lengths)


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rate 0"):
        trainer(tmp_path, rate=0)
    with pytest.raises(ConfigError, match="one of calibrated, drawn, learned"):
        trainer(tmp_path, filter_lengths="long")
