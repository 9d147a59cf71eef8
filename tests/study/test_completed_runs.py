"""Results of an earlier study are imported for equal cells, and for no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.study.arms import Arm
from monai_semiseg.study.cell import CellSpec, prepare_cells
from monai_semiseg.study.commands import cell_commands
from monai_semiseg.study.completed_runs import import_completed_runs
from monai_semiseg.study.grid import Grid, make_grid
from monai_semiseg.study.outcome import CellOutcome, seconds_left
from monai_semiseg.study.provenance import package_code
from monai_semiseg.study.report import write_results
from monai_semiseg.study.shared_training import import_weights

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
TABLES = ("results.csv", "summary.csv", "summary.md", "protocol.json", "answer.txt")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completed") / "dataset"
    for name, array in (
        ("images", np.random.default_rng(0).normal(size=(4, 4, 4))),
        ("labels", np.eye(4)[None]),
    ):
        (folder / name).mkdir(parents=True)
        for n in range(12):
            nib.save(
                nib.Nifti1Image(np.broadcast_to(array, (4, 4, 4)).astype(np.float32), np.eye(4)),
                folder / name / f"{n}.nii",
            )
    return folder


def cells(
    dataset: Path,
    output: Path,
    iterations: int = 8,
    splits: tuple[int, ...] = (0,),
    seeds: tuple[int, ...] = (0, 1),
) -> tuple[Grid, list[CellSpec]]:
    arms = [Arm("supervised", BUNDLE), Arm("other", BUNDLE, settings={"learning_rate": 0.1})]
    grid = make_grid(
        open_dataset(dataset),
        output,
        arms,
        labelled=["4"],
        splits=splits,
        seeds=seeds,
        test=4,
        iterations=iterations,
    )
    return grid, prepare_cells(grid, grid.cells)


def finish(spec: CellSpec, pace: float = 2.0) -> None:
    """Write the files of a cell that has run."""
    outcome = CellOutcome(spec)
    outcome.claim()
    outcome.begin(package_code())
    (spec.folder / "test").mkdir(parents=True)
    (spec.folder / "model.pt").write_text(spec.cell.id)
    lines = ["case,class,name,dice,surface_dice_1mm,hd95_mm,asd_mm"]
    for case in range(4):
        percent = 70 + case + 5 * (spec.cell.arm.name == "other") + spec.cell.seed
        lines.append(f"c{case},1,x,0.{percent},0.9,1.5,0.25")
    (spec.folder / "test" / "metrics.csv").write_text("\n".join(lines) + "\n")
    outcome.finish(pace)


@pytest.fixture
def earlier(dataset: Path, tmp_path: Path) -> Path:
    """Write another study's tables; its cell of arm ``other`` and seed 1 is not finished."""
    grid, specs = cells(dataset, tmp_path / "earlier")
    for spec in specs[:3]:
        finish(spec)
    write_results(grid, specs)
    kept = tmp_path / "tables"
    kept.mkdir()
    for name in TABLES:
        (grid.output / name).rename(kept / name)
    return kept


def test_tables_are_those_of_one_study(dataset: Path, earlier: Path, tmp_path: Path) -> None:
    grid, specs = cells(dataset, tmp_path / "whole")
    for spec in specs:
        finish(spec)
    write_results(grid, specs)
    again, parts = cells(dataset, tmp_path / "parts")
    assert import_completed_runs(parts, earlier) == 3
    assert [CellOutcome(spec).done for spec in parts] == [True] * 3 + [False]
    # The time that they took elsewhere says nothing about this machine.
    assert seconds_left(parts) is None
    finish(parts[3], pace=5.0)
    write_results(again, parts)
    assert all(
        (again.output / name).read_bytes() == (grid.output / name).read_bytes() for name in TABLES
    )
    assert import_completed_runs(parts, earlier) == 0


def test_other_cells_are_not_taken_over(dataset: Path, earlier: Path, tmp_path: Path) -> None:
    """Refuse another budget, split, seed, setting or plan, and cells that have begun."""
    assert import_completed_runs(cells(dataset, tmp_path / "longer", iterations=9)[1], earlier) == 0
    assert import_completed_runs(cells(dataset, tmp_path / "seed", seeds=(2,))[1], earlier) == 0
    assert import_completed_runs(cells(dataset, tmp_path / "split", splits=(1,))[1], earlier) == 0
    _, (first, second, *_) = cells(dataset, tmp_path / "more")
    changed = replace(
        first, cell=replace(first.cell, arm=replace(first.cell.arm, settings={"batch_size": 3}))
    )
    assert import_completed_runs([changed], earlier) == 0
    second.folder.mkdir(parents=True)
    (second.folder / "log.txt").touch()
    assert import_completed_runs([first, second], earlier) == 1
    assert CellOutcome(first).done
    first.plan.write_text("{}")
    assert import_completed_runs([replace(first, folder=tmp_path / "anew")], earlier) == 0


def test_weights_do_not_come_along(dataset: Path, earlier: Path, tmp_path: Path) -> None:
    """Check that an arm that only predicts differently trains by itself."""
    _, specs = cells(dataset, tmp_path / "study")
    import_completed_runs(specs, earlier)
    equal = replace(specs[0].cell, arm=replace(specs[0].cell.arm, name="fused"))
    taker = replace(specs[0], cell=equal, folder=tmp_path / "fused")
    taker.folder.mkdir()
    import_weights(taker, specs)
    assert not list(taker.folder.iterdir())
    assert len(cell_commands(taker)) == 2


@pytest.mark.parametrize("damage", ["gone", "not json", "no cells", "other versions"])
def test_unusable_tables(damage: str, dataset: Path, earlier: Path, tmp_path: Path) -> None:
    protocol = earlier / "protocol.json"
    content = json.loads(protocol.read_text())
    if damage == "gone":
        (earlier / "results.csv").unlink()
    elif damage == "not json":
        protocol.write_text("{")
    elif damage == "no cells":
        protocol.write_text("{}")
    else:
        protocol.write_text(
            json.dumps({**content, "versions": {**content["versions"], "torch": "1.0"}})
        )
    _, specs = cells(dataset, tmp_path / "study")
    with pytest.raises(
        ConfigError, match=r"torch 1\.0" if damage == "other versions" else "no results"
    ):
        import_completed_runs(specs, earlier)
    assert not any(CellOutcome(spec).done for spec in specs)


def test_results_of_other_code_are_named(dataset: Path, earlier: Path, tmp_path: Path) -> None:
    """Import them, since code changes with every comment; the answer says so."""
    grid, specs = cells(dataset, tmp_path / "parts")
    import_completed_runs(specs, earlier)
    write_results(grid, specs)
    assert "states of this package's code" not in (grid.output / "answer.txt").read_text()
    CellOutcome(specs[3]).begin("0123456789ab")  # began with other code, and this code goes on
    finish(specs[3])
    write_results(grid, specs)
    said = (grid.output / "answer.txt").read_text()
    assert "come from 2 states of this package's code" in said
    both = " + ".join(sorted(["0123456789ab", package_code()]))
    assert f"{both}: 1" in said and f"{package_code()}: 3" in said
    written = json.loads((grid.output / "protocol.json").read_text())["cells"]
    assert [entry["code"] for entry in written.values()] == [package_code()] * 3 + [both]


def test_what_the_code_is(tmp_path: Path) -> None:
    """Check that another line of what computes is other code; a line of the command line is not."""
    for name in ("engines/a.py", "cli/b.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x = 1\n")
    found = []
    for name in ("engines/a.py", "cli/b.py", "engines/a.py"):
        found.append(package_code.__wrapped__(tmp_path))
        (tmp_path / name).write_text("x = 2\n")
    assert found[0] != found[1] == found[2] and len(found[0]) == 12


def test_a_cell_from_before_code_was_noted(dataset: Path, tmp_path: Path) -> None:
    _, (spec, *_) = cells(dataset, tmp_path / "old")
    spec.folder.mkdir(parents=True)
    (spec.folder / "log.txt").touch()
    finish(spec)
    assert CellOutcome(spec).read()["code"] == " + ".join(sorted([package_code(), "not noted"]))
