"""Resume of a training that was stopped anywhere: it ends bit for bit as an uninterrupted one.

Run as a script, this file trains and is killed at several moments (see ``_train_and_be_killed``).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, MeanDice, ValidationHandler, from_engine
from monai.losses import DiceCELoss
from monai.transforms import AsDiscreted, Compose, RandFlipd, RandGaussianNoised
from monai.utils import set_determinism
from torch import nn

from monai_semiseg.errors import CheckpointError, ConfigError, OutputError
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace, dict[str, torch.Tensor]]:
    """Run the uninterrupted training; return its folder, trace and last weights."""
    folder = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)
    trainer, network, trace = build(folder)
    trainer.run()
    return folder, trace, network.state_dict()


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


@pytest.mark.parametrize(("iteration", "workers"), [(1, 0), (4, 0), (6, 0), (8, 1), (14, 0)])
def test_stopped_and_resumed_equals_uninterrupted(
    tmp_path: Path, whole: Any, iteration: int, workers: int
) -> None:
    trainer, _, first = build(tmp_path, workers=workers)
    stop_at(trainer, iteration)
    with pytest.raises(Stopped):
        trainer.run()
    # Another seed: whatever matters must come from the checkpoint.
    fresh_start = iteration < EPOCH_ITERATIONS
    trainer, _, second = build(
        tmp_path, workers=workers, resume=True, seed=0 if fresh_start else 99
    )
    trainer.run()
    saved = iteration // EPOCH_ITERATIONS * EPOCH_ITERATIONS
    expected = saved if iteration % EPOCH_ITERATIONS else saved - EPOCH_ITERATIONS
    assert second[0][0] == max(expected, 0) + 1
    assert_same_end(tmp_path, whole, first, second)


def test_stopped_twice(tmp_path: Path, whole: Any) -> None:
    traces = []
    for iteration in (5, 11, None):
        trainer, _, trace = build(tmp_path, resume=True)
        traces.append(trace)
        if iteration is None:
            trainer.run()
            continue
        stop_at(trainer, iteration)
        with pytest.raises(Stopped):
            trainer.run()
    assert_same_end(tmp_path, whole, *traces)


def test_dropout_makes_the_trace_depend_on_the_generator(tmp_path: Path, whole: Any) -> None:
    """Check that the random generator matters; otherwise the tests above would prove nothing."""
    trainer, _, trace = build(tmp_path)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda _: torch.rand(1))
    trainer.run()
    assert trace[:2] == whole[1][:2]
    assert trace[2:] != whole[1][2:]


KILLS = (
    "between iterations",
    "while model.pt is written",
    "while checkpoint.pt is written",
    "before the rename",
)


def _train_and_be_killed(folder: Path, moment: str) -> None:
    """Train, append every loss to a file, and end by SIGKILL in the third epoch."""
    torch.set_num_threads(1)
    trainer, _, trace = build(folder)

    def die() -> None:
        (folder / "trace.txt").write_text("\n".join(f"{i} {loss.hex()}" for i, loss in trace))
        os.kill(os.getpid(), signal.SIGKILL)

    def write_half_and_die(save: Callable[..., None]) -> Callable[..., None]:
        def broken(content: Any, stream: BinaryIO) -> None:
            name = stream.name.rsplit("-", 1)[-1]
            save(content, stream)
            if moment.startswith(f"while {name}") and trainer.state.epoch == 3:
                stream.truncate(stream.tell() // 2)
                stream.flush()
                die()

        return broken

    def die_at(iteration: int) -> Callable[[Engine], None]:
        return lambda engine: die() if engine.state.iteration == iteration else None

    torch.save = write_half_and_die(torch.save)
    if moment == "between iterations":
        trainer.add_event_handler(Events.ITERATION_COMPLETED, die_at(8))
    if moment == "before the rename":
        rename = os.replace
        names = itertools.count()

        def rename_or_die(source: Any, target: Any) -> None:
            if next(names) == 11:
                die()
            rename(source, target)

        os.replace = rename_or_die
    trainer.run()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with one killed training per moment, all forked from one fresh process."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_resumed_equals_uninterrupted(killed: Path, whole: Any, moment: str) -> None:
    folder = killed / moment
    lines = [line.split() for line in (folder / "trace.txt").read_text().splitlines()]
    first = [(int(iteration), float.fromhex(loss)) for iteration, loss in lines]
    assert first[-1][0] in (8, 9)
    trainer, _, second = build(folder, resume=True, seed=99)
    trainer.run()
    assert second[0][0] == 7
    assert_same_end(folder, whole, first, second)


def test_a_finished_training_resumes_to_nothing(tmp_path: Path, whole: Any) -> None:
    for name in ("checkpoint.pt", "model.pt", "learning_curve.csv"):
        (tmp_path / name).write_bytes((whole[0] / name).read_bytes())
    trainer, _, trace = build(tmp_path, resume=True)
    trainer.run()
    assert trace == []
    assert (tmp_path / "checkpoint.pt").read_bytes() == (whole[0] / "checkpoint.pt").read_bytes()


def test_resume_without_a_checkpoint_starts_fresh(tmp_path: Path, whole: Any) -> None:
    trainer, _, trace = build(tmp_path, resume=True)
    trainer.run()
    assert_same_end(tmp_path, whole, trace)


@pytest.mark.parametrize("epochs", [1, 3])
def test_without_validation_the_last_weights_are_kept(tmp_path: Path, epochs: int) -> None:
    """Those of the network that is shipped: here a moving average, beside the one that learns."""
    student, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def step(engine: Engine, _: Any) -> None:
        with torch.no_grad():
            student.weight.fill_(engine.state.iteration)
            average.weight.fill_(engine.state.iteration / 2)

    trainer = Engine(step)
    TrainingCheckpoint(str(tmp_path), average, {"student": student}).attach(trainer)
    trainer.run([0] * EPOCH_ITERATIONS, max_epochs=epochs)
    kept = torch.load(tmp_path / "model.pt", weights_only=True)
    assert float(kept["weight"]) == epochs * EPOCH_ITERATIONS / 2


def test_without_resume_a_checkpoint_is_not_looked_at(tmp_path: Path, whole: Any) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not even a checkpoint")
    trainer, _, trace = build(tmp_path)
    trainer.run()
    assert_same_end(tmp_path, whole, trace)


def test_files_hold_tensors_and_plain_values_only(whole: Any) -> None:
    content = torch.load(whole[0] / "checkpoint.pt", weights_only=True)
    assert set(content) == {
        "network",
        "iteration",
        "epoch",
        "best",
        "budget",
        "random",
        "scaler",
        "optimizer",
        "lr_scheduler",
        "curve",
    }
    model = torch.load(whole[0] / "model.pt", weights_only=True)
    assert list(model) == list(tiny_network().state_dict())
    assert all(isinstance(value, torch.Tensor) for value in model.values())
    assert not list(whole[0].glob(".part*"))


def test_a_full_disk_leaves_the_previous_checkpoint(
    tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save
    written = []

    def broken(content: Any, stream: BinaryIO) -> None:
        written.append(Path(stream.name).name)
        if sum("checkpoint" in name for name in written) == 3:
            stream.write(b"the first bytes")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, stream)

    monkeypatch.setattr(torch, "save", broken)
    trainer, _, first = build(tmp_path)
    with pytest.raises(OutputError, match="No space left"):
        trainer.run()
    assert not list(tmp_path.glob(".part*"))
    assert (
        torch.load(tmp_path / "checkpoint.pt", weights_only=True)["iteration"]
        == 2 * EPOCH_ITERATIONS
    )
    monkeypatch.undo()
    trainer, _, second = build(tmp_path, resume=True, seed=99)
    trainer.run()
    assert_same_end(tmp_path, whole, first, second)


class Payload:
    """Object that runs code when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


def _change(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file, content: file.write_bytes(file.read_bytes()[:-200]), "damaged"),
        (lambda file, content: file.write_bytes(b""), "damaged"),
        (lambda file, content: file.write_text("hello"), "damaged"),
        (lambda file, content: torch.save([1], file), "list"),
        (lambda file, content: torch.save(_change(content, "optimizer"), file), "optimizer"),
        (lambda file, content: torch.save(_change(content, "random"), file), "random"),
        (lambda file, content: torch.save({**content, "best": 0.5}, file), "does not fit"),
        (
            lambda file, content: torch.save(
                {**content, "network": tiny_network(6).state_dict()}, file
            ),
            "size mismatch",
        ),
        (
            lambda file, content: torch.save(
                {**content, "optimizer": Payload(file.parent / "proof")}, file
            ),
            "pickled",
        ),
        (
            lambda file, content: file.write_bytes(pickle.dumps(Payload(file.parent / "proof"))),
            "more than tensors",
        ),
    ],
)
def test_an_unusable_checkpoint_is_refused(
    tmp_path: Path, whole: Any, spoil: Callable[..., Any], words: str
) -> None:
    file = tmp_path / "checkpoint.pt"
    file.write_bytes((whole[0] / "checkpoint.pt").read_bytes())
    spoil(file, torch.load(file, weights_only=True))
    trainer, _, trace = build(tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=words) as caught:
        trainer.run()
    assert str(file) in str(caught.value)
    assert trace == []
    assert not (tmp_path / "proof").exists()


def test_another_budget_is_refused_at_the_start(tmp_path: Path, whole: Any) -> None:
    """Check that another budget is refused early: the schedule would fail only at its end."""
    (tmp_path / "checkpoint.pt").write_bytes((whole[0] / "checkpoint.pt").read_bytes())
    trainer, _, trace = build(tmp_path, resume=True, epochs=EPOCHS + 2)
    with pytest.raises(CheckpointError, match=r"5 x 3, now 7 x 3"):
        trainer.run()
    assert trace == []


def test_initial_weights_start_a_training_and_yield_to_a_checkpoint(
    tmp_path: Path, whole: Any
) -> None:
    first = {}
    for name, folder in (("fresh", tmp_path), ("resumed", tmp_path / "resumed")):
        folder.mkdir(exist_ok=True)
        if name == "resumed":
            (folder / "checkpoint.pt").write_bytes((whole[0] / "checkpoint.pt").read_bytes())
        trainer, network, _ = build(
            folder, resume=True, init_weights=str(whole[0] / "model.pt"), seed=7
        )
        trainer.add_event_handler(
            Events.STARTED,
            lambda _, n=name, net=network: first.update(
                {n: {key: value.clone() for key, value in net.state_dict().items()}}
            ),
        )
        trainer.run()
    assert equal(first["fresh"], torch.load(whole[0] / "model.pt", weights_only=True))
    assert equal(first["resumed"], whole[2])


def test_initial_weights_that_do_not_fit_stop_the_training(tmp_path: Path) -> None:
    torch.save({"other": torch.ones(3)}, tmp_path / "other.pt")
    trainer, _, trace = build(tmp_path, init_weights=str(tmp_path / "other.pt"))
    with pytest.raises(CheckpointError, match="0 of 4 tensors"):
        trainer.run()
    assert trace == []


@pytest.mark.parametrize("strict", [False, True])
def test_initial_weights_that_fit_in_part(tmp_path: Path, strict: bool) -> None:
    state = tiny_network().state_dict()
    torch.save(
        {name: value for name, value in state.items() if name != "3.bias"}, tmp_path / "part.pt"
    )
    network = tiny_network()
    engine = Engine(lambda *_: None)
    InitialWeights(network, str(tmp_path / "part.pt"), strict).attach(engine)
    with pytest.raises(CheckpointError, match="3 of 4") if strict else contextlib.nullcontext():
        engine.run([0])
    assert torch.equal(network.state_dict()["0.weight"], state["0.weight"]) is not strict


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    trainer, network, _ = build(tmp_path)

    def spoil(engine: Engine) -> None:
        if engine.state.iteration == 5:
            with torch.no_grad():
                network[0].weight.fill_(float("nan"))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, spoil)
    with pytest.raises(ConfigError, match="the loss is nan after 6 iterations"):
        trainer.run()
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["iteration"] == 3
    assert all(torch.isfinite(value).all() for value in content["network"].values())


if __name__ == "__main__":
    for kill in KILLS:
        (Path(sys.argv[1]) / kill).mkdir()
        child = os.fork()
        if child == 0:
            _train_and_be_killed(Path(sys.argv[1]) / kill, kill)
            os._exit(5)  # not killed
        status = os.waitpid(child, 0)[1]
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(f"{kill}: ended with status {status}")
