"""A tiny training with checkpoints, and what two trainings have in common at their ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, MeanDice, ValidationHandler, from_engine
from monai.losses import DiceCELoss
from monai.transforms import AsDiscreted, Compose, RandFlipd, RandGaussianNoised
from monai.utils import set_determinism
from torch import nn

from monai_semiseg.handlers.checkpoint import InitialWeights, TrainingCheckpoint
from monai_semiseg.handlers.progress import LearningCurve
from monai_semiseg.samplers.seeded import BudgetSampler, SeededSamples

EPOCHS = 5
EPOCH_ITERATIONS = 3
Trace = list[tuple[int, float]]


def tiny_network(channels: int = 4) -> nn.Module:
    """Create a network with dropout, which uses the global random generator."""
    return nn.Sequential(
        nn.Conv3d(1, channels, 3, padding=1), nn.Dropout(0.4), nn.ReLU(), nn.Conv3d(channels, 2, 1)
    )


def scans(count: int) -> list[dict[str, torch.Tensor]]:
    rng = np.random.default_rng(5)
    images = [
        torch.from_numpy(rng.normal(size=(1, 8, 8, 8)).astype(np.float32)) for _ in range(count)
    ]
    return [{"image": image, "label": (image > -0.2).float()} for image in images]


def validation(network: nn.Module) -> SupervisedEvaluator:
    both = from_engine(["pred", "label"])
    return SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader(Dataset(scans(1)), batch_size=1),
        network,
        postprocessing=Compose(AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=2)),
        key_val_metric={"dice": MeanDice(include_background=False, output_transform=both)},
    )


def build(
    folder: Path,
    *,
    resume: bool = False,
    seed: int = 0,
    workers: int = 0,
    network: nn.Module | None = None,
    epochs: int = EPOCHS,
    init_weights: str | None = None,
) -> tuple[SupervisedTrainer, nn.Module, Trace]:
    """Create a trainer as in the bundles' train.json, its network, and a trace for its losses."""
    set_determinism(seed)
    network = tiny_network() if network is None else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.05, total_steps=epochs * EPOCH_ITERATIONS + 1
    )
    sampler = BudgetSampler(epochs * EPOCH_ITERATIONS, 2)
    augment = Compose(
        [RandFlipd(["image", "label"], 0.5, 0), RandGaussianNoised("image", 0.8, std=0.3)]
    )
    draws = SeededSamples(Dataset(scans(5)), augment, seed=0)
    evaluator = validation(network)
    curve = LearningCurve(str(folder), evaluator)
    state = {"optimizer": optimizer, "lr_scheduler": scheduler, "curve": curve}
    trainer = SupervisedTrainer(
        torch.device("cpu"),
        epochs,
        DataLoader(draws, batch_size=2, sampler=sampler, num_workers=workers),
        network,
        optimizer,
        DiceCELoss(to_onehot_y=True, softmax=True),
        epoch_length=EPOCH_ITERATIONS,
        decollate=False,
        train_handlers=[
            LrScheduleHandler(scheduler, print_lr=False, epoch_level=False),
            InitialWeights(network, init_weights),
            ValidationHandler(1, evaluator),
            curve,
            TrainingCheckpoint(str(folder), network, state, evaluator, [sampler], resume),
        ],
    )
    trace: Trace = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda e: trace.append((e.state.iteration, float(e.state.output["loss"].detach()))),
    )
    return trainer, network, trace


class Stopped(Exception):
    """Exception that ends a training between two iterations."""


def stop_at(trainer: SupervisedTrainer, iteration: int) -> None:
    def stop(engine: Engine) -> None:
        if engine.state.iteration == iteration:
            raise Stopped

    trainer.add_event_handler(Events.ITERATION_COMPLETED, stop)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def assert_same_end(folder: Path, whole: Any, *traces: Trace) -> None:
    """Compare losses (also of repeated iterations), weights and files with the reference."""
    reference_folder, reference_trace, weights = whole
    steps = dict(reference_trace)
    for trace in traces:
        assert all(loss == steps[iteration] for iteration, loss in trace)
    assert set().union(*(dict(trace) for trace in traces)) == set(steps)
    ends = [torch.load(f / "checkpoint.pt", weights_only=True) for f in (folder, reference_folder)]
    assert equal(ends[0]["network"], weights)
    for name in ("curve", "iteration", "epoch", "best", "lr_scheduler"):
        assert ends[0][name] == ends[1][name]
    assert torch.equal(ends[0]["random"]["torch"], ends[1]["random"]["torch"])
    assert equal(
        *(torch.load(f / "model.pt", weights_only=True) for f in (folder, reference_folder))
    )
    assert (folder / "learning_curve.csv").read_bytes() == (
        reference_folder / "learning_curve.csv"
    ).read_bytes()
