"""Cells of the comparison of starts in nnU-Net: what is compared, and where its files are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_semiseg.benchmarks.nnunet_process import CHECKPOINT, PREPARED, result_folder
from monai_semiseg.bundles.locate import bundle_folder
from monai_semiseg.datasets.convert import label_order
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.errors import ConfigError, did_you_mean
from monai_semiseg.networks.nnunet_checkpoint import PRETRAINED
from monai_semiseg.study.arms import Arm
from monai_semiseg.study.cell import CellSpec, prepare_cells
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
