"""Cells of the baselines' bundle: one without any data, and what several need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_semiseg.study.arms import Arm, Stage
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.grid import Cell
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.results import Row

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BASELINES = BUNDLES / "semisupervised_baselines"
HEBBIAN = BUNDLES / "hebbian_initializer"
SHORT = Stage(HEBBIAN, settings={"iterations": 7})
SLOW = Stage(HEBBIAN, settings={"rate": 0.5})


def small_study(**changed: Any) -> dict[str, Any]:
    """Return what a small study asks of :func:`make_grid`, with changes."""
    asked = {
        "labelled": ["2", "4", "all"],
        "splits": [0, 1],
        "seeds": [0],
        "test": 4,
        "iterations": 8,
    }
    return {**asked, **changed}


def make_spec(folder: Path, *stages: Stage, initialisation: Path | None = None) -> CellSpec:
    """Return a cell of ``folder``/cell; its split and plan are empty files."""
    for name in ("datalist.json", "plan.yaml"):
        (folder / name).write_text("{}")
    arm = Arm("a", BASELINES, (), {"learning_rate": 0.1}, initialisation, stages)
    return CellSpec(
        Cell(arm, 4, 1, 2),
        folder / "cell",
        folder / "datalist.json",
        folder / "plan.yaml",
        30,
        folder,
        "cpu",
    )


def options(command: list[str]) -> dict[str, str]:
    """Return option -> value of a bundle run."""
    assert command[1:4] == ["-m", "monai.bundle", "run"]
    return dict(zip(command[4::2], command[5::2], strict=True))


def make_dataset(folder: Path) -> Path:
    """Return sixteen labelled scans of a few voxels."""
    rng = np.random.default_rng(0)
    label = np.eye(4, dtype=np.uint8)[None].repeat(4, 0)
    for n in range(16):
        for name, array in (
            ("images", rng.normal(size=(4, 4, 4)).astype(np.float32)),
            ("labels", label),
        ):
            (folder / name).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / name / f"{n}.nii")
    return folder


def finish(spec: CellSpec, dice: float) -> None:
    """Write the files of a cell that has run; its four cases differ by 0.01."""
    outcome = CellOutcome(spec)
    outcome.claim()
    (spec.folder / "test").mkdir(parents=True)
    (spec.folder / "model.pt").write_text(spec.name)
    lines = ["case,class,name,dice,surface_dice_1mm,hd95_mm,asd_mm"]
    lines += [f"c{case},1,x,{dice + 0.01 * case:.5f},0.9,1.5,0.5" for case in range(4)]
    (spec.folder / "test" / "metrics.csv").write_text("\n".join(lines) + "\n")
    outcome.finish()


def rows_of(arm: str, labelled: int, by_split: dict[int, float], cases: int = 15) -> list[Row]:
    """Return rows of one arm and budget with a Dice per split; cases differ by 0.01."""
    return [
        Row(arm, labelled, split, 0, f"c{case:02}", "1", "x", (dice + 0.01 * case, 0.9, 2.0, 1.0))
        for split, dice in by_split.items()
        for case in range(cases)
    ]
