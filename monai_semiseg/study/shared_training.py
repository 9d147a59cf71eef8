"""Import of weights: equal pretrainings and trainings of several cells are run once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_semiseg.storage.files import sha256_of, write_atomically
from monai_semiseg.study.cell import CellSpec, stage_identity
from monai_semiseg.study.grid import Cell
from monai_semiseg.study.outcome import CellOutcome

# Names the cell that the weights of a folder come from. Studies on disk have files of this name.
_SOURCE = "adopted.txt"


def is_imported(folder: Path) -> bool:
    """Return True if the weights in a folder were imported from another cell."""
    return (folder / _SOURCE).is_file()


def import_weights(spec: CellSpec, others: Sequence[CellSpec]) -> None:
    """Copy the weights that a finished cell has trained with the same split, seed and settings.

    For an arm that differs in its evaluation only, these are the weights of the whole training;
    else those of stages. A training that has begun is kept.

    Args:
        spec: the cell that is about to run.
        others: cells of the study.
    """
    if (spec.folder / "learning_curve.csv").exists():
        return
    trained = _trained_cell(spec)
    for other in others:
        if _trained_cell(other) == trained and CellOutcome(other).has("model.pt"):
            _copy_weights(other.folder, spec.folder)
            # Only now that the weights are whole, a file says that there is nothing left to train.
            write_atomically(spec.folder / _SOURCE, f"{other.name}\n")
            shutil.copy2(other.folder / "learning_curve.csv", spec.folder / "learning_curve.csv")
            return
    _import_stages(spec, others)


def should_wait_for(spec: CellSpec, running: CellSpec) -> bool:
    """Return True if a running cell trains something that another one could import."""
    arm = spec.cell.arm
    other = running.cell.arm
    if (spec.datalist, spec.cell.seed) != (running.datalist, running.cell.seed):
        return False
    if _trained_cell(spec) == _trained_cell(running):
        return True
    same_start = arm.initialisation == other.initialisation
    return bool(arm.stages) and same_start and arm.stages[:1] == other.stages[:1]


def _import_stages(spec: CellSpec, others: Sequence[CellSpec]) -> None:
    for number in range(1, len(spec.cell.arm.stages) + 1):
        folder = spec.stage_folder(number)
        if folder.exists():
            continue
        identity = _stages_identity(spec, number)
        weights = f"stage_{number}/model.pt"
        source = next(
            (
                other
                for other in others
                if _stages_identity(other, number) == identity and CellOutcome(other).has(weights)
            ),
            None,
        )
        if source is None:
            return
        folder.mkdir(parents=True)
        _copy_weights(source.stage_folder(number), folder)
        write_atomically(folder / _SOURCE, f"{source.name}\n")


def _stages_identity(spec: CellSpec, number: int) -> list[Any] | None:
    """Return everything the weights of a stage depend on; None if there is no such stage."""
    arm = spec.cell.arm
    if number > len(arm.stages):
        return None
    return [
        spec.datalist,
        spec.cell.seed,
        arm.initialisation and sha256_of(arm.initialisation),
        *map(stage_identity, arm.stages[:number]),
    ]


def _trained_cell(spec: CellSpec) -> tuple[Path, Cell]:
    """Return the cell without what its weights do not depend on, and the scans that it trains on.

    Trials of a learning rate have the cell in common with others, and not the scans.
    """
    arm = replace(spec.cell.arm, name="", evaluate_overlays=())
    return spec.datalist, replace(spec.cell, arm=arm)


def _copy_weights(source: Path, folder: Path) -> None:
    """Copy weights; before them the record of their training, if there is one."""
    for name in ("model.json", "model.pt"):
        if (source / name).is_file():
            shutil.copy2(source / name, folder / name)
