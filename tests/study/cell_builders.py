"""A cell of the baselines' bundle, without any data."""

from __future__ import annotations

from pathlib import Path

from monai_semiseg.study.arms import Arm, Stage
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.grid import Cell

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BASELINES = BUNDLES / "semisupervised_baselines"
HEBBIAN = BUNDLES / "hebbian_initializer"
SHORT = Stage(HEBBIAN, settings={"iterations": 7})
SLOW = Stage(HEBBIAN, settings={"rate": 0.5})


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
    """Option -> value of a bundle run."""
    assert command[1:4] == ["-m", "monai.bundle", "run"]
    return dict(zip(command[4::2], command[5::2], strict=True))
