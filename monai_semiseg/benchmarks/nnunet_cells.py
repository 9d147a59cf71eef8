"""Cells of the comparison of starts in nnU-Net: what each needs, and its commands."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai_semiseg.benchmarks.nnunet_process import CHECKPOINT, DATASET, PREPARED, result_folder
from monai_semiseg.bundles.locate import bundle_folder
from monai_semiseg.datasets.convert import convert, label_order
from monai_semiseg.datasets.datalist import load_datalist
from monai_semiseg.datasets.dataset import ScanDataset, case_of
from monai_semiseg.errors import ConfigError, did_you_mean
from monai_semiseg.networks.nnunet_checkpoint import PRETRAINED
from monai_semiseg.storage.files import output_errors
from monai_semiseg.study.arms import Arm
from monai_semiseg.study.cell import CellSpec, prepare_cells
from monai_semiseg.study.cell_work import last_line
from monai_semiseg.study.grid import Grid

NONE = "none"
# Start -> bundle that makes it; the start of nnU-Net itself is drawn at random.
STARTS = {
    NONE: "",
    "hebbian": "hebbian_initializer",
    "denoising": "diffusion_cotrainer",
    "contrastive": "contrastive_pretrainer",
}


@dataclass(frozen=True)
class Lengths:
    """Budgets of the trainings.

    Attributes:
        iterations: optimiser steps of nnU-Net's trainer.
        epochs: steps of its learning rate; each has as many iterations.
        start_iterations: optimiser steps that make a start.
    """

    iterations: int
    epochs: int
    start_iterations: int

    def __post_init__(self) -> None:
        """Refuse lengths that cannot be.

        Raises:
            ConfigError: If one is below 1, or the epochs do not divide the iterations.
        """
        least = min(self.iterations, self.epochs, self.start_iterations)
        if least < 1 or self.iterations % self.epochs:
            raise ConfigError(
                f"{self.iterations} iterations in {self.epochs} epochs, "
                f"{self.start_iterations} for a start",
                expected="at least 1 of each, and epochs that divide the iterations",
                remedy="--iterations 250 --epochs 10",
            )


@dataclass(frozen=True)
class Planning:
    """Wishes for nnU-Net's planner.

    Attributes:
        configuration: such as ``2d``; None is ``3d_fullres``, or ``2d`` if there is none.
        gpu_memory_target: in GB; None is nnU-Net's own.
    """

    configuration: str | None = None
    gpu_memory_target: float | None = None

    def words(self) -> list[str]:
        """Return the arguments of ``nnunet_process prepare``."""
        words = [] if self.configuration is None else ["--configuration", self.configuration]
        if self.gpu_memory_target is not None:
            words += ["--gpu_memory_target", str(self.gpu_memory_target)]
        return words


class StartCell(CellSpec):
    """A cell whose training is nnU-Net's, from one start."""

    @property
    def nnunet(self) -> Path:
        """Return the folder with nnU-Net's data and plans, which all starts share."""
        return self.datalist.parent / "nnunet"

    @property
    def prepared(self) -> dict[str, Any]:
        """Return what nnU-Net's plans say."""
        content: dict[str, Any] = json.loads((self.nnunet / PREPARED).read_text())
        return content

    @property
    def model(self) -> Path:
        """Return the folder of nnU-Net's trained model."""
        return result_folder(self.folder / "results", self.prepared["configuration"])

    @property
    def weights(self) -> Path:
        """Return the checkpoint of nnU-Net's trainer."""
        return self.model / "fold_all" / CHECKPOINT

    @property
    def start(self) -> Path | None:
        """Return the file of the start; None if there is none."""
        if self.cell.arm.name == NONE:
            return None
        return self.folder / "start" / PRETRAINED


def arms_of(
    names: Sequence[str],
    lengths: Lengths,
    planning: Planning,
    *,
    pretrain: str = "",
    disable_tta: bool = False,
) -> list[Arm]:
    """Return an arm for each start, with all settings that its result depends on.

    Args:
        names: of :data:`STARTS`.
        lengths: of the trainings.
        planning: of nnU-Net.
        pretrain: further words for ``monai-semiseg pretrain``.
        disable_tta: predict without mirroring.

    Raises:
        ConfigError: If a start is unknown, its bundle is not there, or ``none`` is not among them.
    """
    for name in names:
        if name not in STARTS:
            known = ", ".join(STARTS)
            raise ConfigError(
                f"--starts {name!r}", expected=known, remedy=did_you_mean(name, STARTS)
            )
    if NONE not in names:
        raise ConfigError(
            f"--starts {','.join(names)}",
            expected=f"{NONE} among them: the others are compared with it",
        )
    shared = {**vars(planning), "epochs": lengths.epochs, "disable_tta": disable_tta}
    own = {"start_iterations": lengths.start_iterations, "pretrain": pretrain}
    arms = []
    for name in names:
        bundle = bundle_folder(STARTS[name] or "semisupervised_baselines")
        arms.append(Arm(name, bundle, settings=shared if name == NONE else shared | own))
    return arms


def start_cells(grid: Grid, dataset: ScanDataset, device: str) -> list[StartCell]:
    """Write the splits of a grid, and return its cells.

    Raises:
        ConfigError: If nnU-Net cannot have the labels as they are numbered, or the folder holds
            other splits.
    """
    order = label_order(dataset)
    if order != tuple(range(len(order))):
        raise ConfigError(
            f"labels {', '.join(map(str, order))}",
            expected="consecutive numbers from 0, with ignore as the last, as nnU-Net has them",
            remedy="monai-semiseg convert DATASET --to nnunet --output NEW; then use NEW",
            path=dataset.root,
        )
    specs = prepare_cells(grid, grid.cells, device=device, dataset=dataset)
    return [StartCell(**vars(spec)) for spec in specs]


def prepare_nnunet(spec: StartCell, dataset: ScanDataset, planning: Planning) -> None:
    """Convert the labelled training cases of a split, plan and preprocess them, unless it is done.

    Args:
        spec: a cell of the split.
        dataset: valid cases.
        planning: wishes for the planner.

    Raises:
        ConfigError: If nnU-Net's commands fail, or the folder was prepared with other wishes.
    """
    folder = spec.nnunet
    if (folder / PREPARED).is_file():
        if spec.prepared["asked"] != vars(planning):
            raise ConfigError(
                f"was prepared with {spec.prepared['asked']}, asked is {vars(planning)}",
                expected="one configuration and memory target",
                remedy="choose another --output",
                path=folder,
            )
        return
    raw = folder / "raw" / DATASET
    if not raw.exists():
        wanted = {
            case_of(entry).image
            for entry in load_datalist(spec.datalist)["training"]
            if "label" in entry
        }
        cases = [case for case in dataset.cases if case.image in wanted]
        convert(replace(dataset, cases=cases), "nnunet", raw, progress=False)
    command = _process("prepare", folder, *planning.words())
    log = folder / "log.txt"
    with output_errors(log), log.open("ab") as stream:
        code = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
    if code:
        raise ConfigError(
            f"nnU-Net cannot plan or preprocess: {last_line(log)}",
            expected="a dataset that nnUNetv2_plan_and_preprocess takes",
            path=log,
        )


def start_commands(spec: StartCell, layout: Sequence[str] = ()) -> list[list[str]]:
    """Return the commands of a cell that are not done: its start, its training, its evaluation.

    Args:
        spec: the cell, whose data are prepared.
        layout: what the command line says about the layout of the dataset.
    """
    commands = []
    if spec.start is not None and not spec.start.is_file():
        commands.append(_pretraining(spec, layout))
    if not spec.weights.is_file():
        commands.append(_training(spec))
    return [*commands, _evaluation(spec)]


def _pretraining(spec: StartCell, layout: Sequence[str]) -> list[str]:
    arm = spec.cell.arm
    plans = spec.nnunet / "preprocessed" / DATASET / "nnUNetPlans.json"
    return [
        *_verb("pretrain", spec, layout),
        *("--plan", str(spec.plan), "--bundle", str(arm.bundle)),
        *("--network", f"{plans}:{spec.prepared['configuration']}"),
        *("--iterations", str(arm.settings["start_iterations"]), "--seed", str(spec.cell.seed)),
        *("--output", str(spec.folder / "start"), "--resume"),
        *shlex.split(arm.settings["pretrain"]),
    ]


def _training(spec: StartCell) -> list[str]:
    epochs = spec.cell.arm.settings["epochs"]
    words = [
        *("--configuration", spec.prepared["configuration"]),
        *("--results", str(spec.folder / "results"), "--seed", str(spec.cell.seed)),
        *("--epochs", str(epochs), "--epoch_iterations", str(spec.iterations // epochs)),
        *("--device", _torch_device(spec.device)),
    ]
    if spec.start is not None:
        words += ["--pretrained_weights", str(spec.start)]
    return _process("train", spec.nnunet, *words)


def _evaluation(spec: StartCell) -> list[str]:
    words = ["--weights", f"{spec.model}:all", "--output", str(spec.folder / "test")]
    if spec.cell.arm.settings["disable_tta"]:
        words += ["--set", "mirror_axes=[]"]
    return [*_verb("evaluate", spec), *words]


def _verb(name: str, spec: StartCell, layout: Sequence[str] = ()) -> list[str]:
    where = ["--datalist", str(spec.datalist), "--device", spec.device]
    program = [sys.executable, "-m", "monai_semiseg"]
    return [*program, name, str(spec.dataset), *layout, *where]


def _process(step: str, folder: Path, *words: str) -> list[str]:
    program = [sys.executable, "-m", "monai_semiseg.benchmarks.nnunet_process"]
    return [*program, step, str(folder), *words]


def _torch_device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
