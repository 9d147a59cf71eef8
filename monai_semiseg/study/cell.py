"""Specification of a cell: the training and evaluation to run, and the files that they read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.datalist import load_datalist, write_datalist
from monai_semiseg.datasets.dataset import ScanDataset, open_dataset
from monai_semiseg.datasets.fingerprint import extract_fingerprint
from monai_semiseg.datasets.grids import without_grid_mismatches
from monai_semiseg.datasets.plan import decisions, plan, write_plan
from monai_semiseg.datasets.split import split
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import sha256_of
from monai_semiseg.study.arms import Stage
from monai_semiseg.study.grid import Cell, Grid, split_id


@dataclass(frozen=True)
class CellSpec:
    """A cell of the grid with its files: all that its commands are made of.

    Attributes:
        cell: arm, budget, split and seed.
        folder: of the cell's results.
        datalist: the split; shared by all arms and seeds of this budget.
        plan: measured on that datalist's training scans; shared likewise.
        iterations: optimiser steps.
        dataset: folder of the dataset.
        device: ``auto``, ``cpu`` or ``cuda:N``; not part of the identity.
        rate_scores: learning rate -> Dice in cross-validation, where the arm's rate was chosen so;
            not part of the identity.
    """

    cell: Cell
    folder: Path
    datalist: Path
    plan: Path
    iterations: int
    dataset: Path
    device: str
    rate_scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name of the folder, which tells cells and trials apart."""
        return self.folder.name

    @property
    def weights(self) -> Path:
        """Return the file of the final weights."""
        return self.folder / "model.pt"

    def stage_folder(self, number: int) -> Path:
        """Return the folder of a pretraining stage, counted from 1."""
        return self.folder / f"stage_{number}"

    def identity(self) -> dict[str, Any]:
        """Return everything the result depends on: settings, and the content of every file."""
        arm = self.cell.arm
        configs = [arm.bundle / "configs" / f"{name}.json" for name in ("train", "evaluate")]
        files = (*configs, *arm.overlays, *arm.evaluate_overlays)
        stages = [stage_identity(stage) for stage in arm.stages]
        return {
            "arm": arm.name,
            "labelled": self.cell.labelled,
            "split": self.cell.split,
            "seed": self.cell.seed,
            "iterations": self.iterations,
            "settings": dict(arm.settings),
            "initialisation": arm.initialisation and sha256_of(arm.initialisation),
            "configs": _hashes(files),
            **_order(arm.overlays, arm.evaluate_overlays),
            **({"stages": stages} if stages else {}),
            "datalist": sha256_of(self.datalist),
            "plan": sha256_of(self.plan),
        }

    def digest(self) -> str:
        """Return the hash of :meth:`identity`."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()


def stage_identity(stage: Stage) -> dict[str, Any]:
    """Return everything a stage's weights depend on, beside those that it starts from."""
    files = (stage.bundle / "configs" / stage.config, *stage.overlays)
    handed = {} if stage.hands_to == "init_weights" else {"hands_to": stage.hands_to}
    return {
        "configs": _hashes(files),
        **_order(stage.overlays),
        "settings": dict(stage.settings),
        **handed,
    }


def _order(training: Sequence[Path], evaluation: Sequence[Path] = ()) -> dict[str, list[str]]:
    """Return the names of overlays in their order, which says whose setting counts.

    One overlay of a training has no order, and its content is among the configs: nothing is added,
    so that cells of studies from before stay valid.
    """
    if len(training) < 2 and not evaluation:
        return {}
    return {
        "overlays": [file.name for file in training],
        "evaluate_overlays": [file.name for file in evaluation],
    }


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    """Return file name -> hash; further files of a name, with other content, are numbered."""
    found: dict[str, str] = {}
    for file in files:
        content = sha256_of(file)
        name, number = file.name, 1
        while found.get(name, content) != content:
            number += 1
            name = f"{file.name} {number}"
        found[name] = content
    return found


def prepare_cells(
    grid: Grid, cells: Sequence[Cell], *, device: str = "auto", dataset: ScanDataset | None = None
) -> list[CellSpec]:
    """Write a datalist and a plan for every budget and split; return the cells with their files.

    The same grid writes the same bytes, so several runs may do this at the same time.

    Args:
        grid: the study.
        cells: some of its cells.
        device: that cells run on.
        dataset: sound cases of the grid's dataset; None looks for them.

    Raises:
        ConfigError: If the folder holds another split of this budget.
    """
    if dataset is None:
        dataset, _ = without_grid_mismatches(open_dataset(grid.dataset))
    specs = []
    ready: set[Path] = set()
    for cell in cells:
        folder = grid.output / "splits" / split_id(cell.labelled, cell.split)
        if folder not in ready:
            _write_split(dataset, grid, cell, folder)
            ready.add(folder)
        specs.append(
            CellSpec(
                cell,
                grid.output / "cells" / cell.id,
                folder / "datalist.json",
                folder / "plan.yaml",
                grid.iterations_of(cell.arm),
                grid.dataset,
                device,
            )
        )
    return specs


def _write_split(dataset: ScanDataset, grid: Grid, cell: Cell, folder: Path) -> None:
    """Write the datalist and the plan of a budget and split, unless they are there."""
    content = split(
        dataset,
        labelled=cell.labelled,
        test=grid.test,
        validation=grid.validation,
        seed=cell.split if isinstance(cell.split, int) else 0,
        chosen=grid.selected.get((cell.labelled, cell.split)),
    )
    file = folder / "datalist.json"
    if file.is_file() and load_datalist(file) != json.loads(json.dumps(content)):
        raise ConfigError(
            "an earlier run of this study split the scans in another way",
            expected="the same dataset, --test and --validation: other splits are not mixed",
            remedy="choose another --output",
            path=file,
        )
    if (folder / "plan.yaml").is_file():  # the plan comes last
        return
    write_datalist(content, file)
    found = extract_fingerprint(dataset, content, progress=False)
    # Half of an assumed 8 GiB: a plan must not depend on how much memory happens to be free.
    write_plan(
        plan(found, memory=4 << 30),
        folder / "plan.yaml",
        source=grid.dataset.name,
        decided=decisions(found),
    )
