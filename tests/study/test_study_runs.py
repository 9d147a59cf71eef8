"""A study that is killed and run again ends with the same bytes; cells are never mixed.

Run as a script, this file runs the study of the test in a process that can be killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.lock import WorkLock
from monai_semiseg.study.answer import answer
from monai_semiseg.study.arms import Arm
from monai_semiseg.study.cell import CellSpec, prepare_cells
from monai_semiseg.study.grid import Grid, make_grid
from monai_semiseg.study.outcome import CellOutcome, seconds_left
from monai_semiseg.study.provenance import package_code
from monai_semiseg.study.report import write_results
from monai_semiseg.study.results import read_rows, summarise
from monai_semiseg.study.runner import RunOutcome, run_cells

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
# Stands for a training: resumable, slow enough to be killed, its scores a function of arm, budget
# and seed.
TRAIN = """
import pathlib, sys, time
folder, arm, seed = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
curve = folder / "learning_curve.csv"
rows = curve.read_text().split() if curve.exists() else ["iteration"]
if arm == "breaks": sys.exit("E_CONFIG it breaks")
for step in range(len(rows), 9):
    time.sleep(0.03)
    rows.append(str(step))
    curve.write_text("\\n".join(rows))
(folder / "model.pt").write_text(f"{arm} {seed}")
"""
EVALUATE = """
import pathlib, sys
folder, arm, seed = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
labelled = int(sys.argv[4])
(folder / "test").mkdir(exist_ok=True)
lines = ["case,class,name,dice,surface_dice_1mm,hd95_mm,asd_mm"]
for case in range(4):
    dice = 1 - (0.3 - 0.05 * (arm != "supervised")) * labelled ** -0.3 + 0.01 * case + 0.002 * seed
    lines += [f"c{case},{n},x{n},{dice - 0.01 * n:.5f},0.9,1.5,0.5" for n in (1, 2)]
(folder / "test" / "metrics.csv").write_text("\\n".join(lines) + "\\n")
"""


def commands(spec: CellSpec) -> list[list[str]]:
    """Commands that take a moment."""
    cell = spec.cell
    facts = [str(spec.folder), cell.arm.name, str(cell.seed), str(cell.labelled)]
    return [[sys.executable, "-c", script, *facts] for script in (TRAIN, EVALUATE)]


def run(specs: list[CellSpec], parallel: int = 1) -> RunOutcome:
    return run_cells(specs, parallel=parallel, progress=False, interval=0.01, commands=commands)


def is_done(spec: CellSpec) -> bool:
    return CellOutcome(spec).done


def make_dataset(folder: Path) -> Path:
    """Sixteen labelled scans of a few voxels."""
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


def make_specs(
    dataset: Path, output: Path, names: tuple[str, ...] = ("supervised", "other")
) -> tuple[Grid, list[CellSpec]]:
    grid = make_grid(
        open_dataset(dataset),
        output,
        [Arm(name, BUNDLE) for name in names],
        labelled=["2", "4", "all"],
        seeds=[0, 1],
        test=4,
        iterations=8,
    )
    return grid, prepare_cells(grid, grid.cells)


def study(dataset: Path, output: Path, parallel: int = 2) -> None:
    grid, specs = make_specs(dataset, output)
    run(specs, parallel)
    write_results(grid, specs)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("study") / "dataset")


@pytest.fixture(scope="module")
def whole(dataset: Path) -> Path:
    study(dataset, dataset.parent / "whole")
    return dataset.parent / "whole"


def test_killed_again_and_again(dataset: Path, whole: Path, tmp_path: Path) -> None:
    """SIGKILL at growing delays until the study ends; then all results are the same bytes."""
    kills = 0
    delay = 2.5
    while True:
        child = subprocess.Popen([sys.executable, __file__, str(dataset), str(tmp_path / "study")])
        try:
            assert child.wait(delay) == 0
            break
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
            delay += 0.9
    assert kills >= 1
    files = (
        "results.csv",
        "summary.csv",
        "summary.md",
        "protocol.json",
        "curve.png",
        "differences.png",
        "report.html",
        "answer.txt",
    )
    for name in files:
        assert (tmp_path / "study" / name).read_bytes() == (whole / name).read_bytes(), name
    assert not list((tmp_path / "study").rglob("lock*"))


def test_what_it_says(whole: Path, dataset: Path) -> None:
    rows = read_rows(make_specs(dataset, whole)[1])
    assert len(rows) == 2 * 3 * 2 * 4 * 2
    summaries = {(one.arm, one.labelled): one for one in summarise(rows)}
    other = summaries["other", 4]
    assert other.against is not None and other.against.difference == pytest.approx(
        0.05 * 4**-0.3, abs=1e-4
    )
    assert other.means["dice"] == pytest.approx(
        1 - 0.25 * 4**-0.3 + 0.015 + 0.001 - 0.015, abs=1e-4
    )
    assert (
        summaries["supervised", 4].against is None
        and summaries["supervised", 4].seed_differences == ()
    )
    of_seeds = [one.seed_means for one in (other, summaries["supervised", 4])]
    assert np.mean(other.seed_differences) == pytest.approx(
        np.mean(of_seeds[0]) - np.mean(of_seeds[1])
    )
    assert len(other.seed_differences) == len(other.seeds)
    sentences = answer(rows, list(summaries.values()), 12)
    assert any(
        s.startswith("With 4 labelled scans the best mean Dice is") and "from other" in s
        for s in sentences
    )
    needed = next(s for s in sentences if s.startswith("other: about"))
    target = 0.95 * summaries["supervised", 12].means["dice"]
    assert f"Dice {target:.4f}" in needed
    page = (whole / "report.html").read_text()
    assert (
        "data:image/png;base64" in page
        and "other" in page
        and "http" not in page.replace("http-equiv", "")
    )


def test_finished_cells_are_kept(dataset: Path, tmp_path: Path) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    run(specs, 4)
    times = [(spec.folder / "model.pt").stat().st_mtime_ns for spec in specs]
    started = time.monotonic()
    run(specs, 4)
    assert time.monotonic() - started < 1 and times == [
        (spec.folder / "model.pt").stat().st_mtime_ns for spec in specs
    ]


def test_a_failing_cell_fails_alone(dataset: Path, tmp_path: Path) -> None:
    _, specs = make_specs(dataset, tmp_path / "study", ("supervised", "breaks"))
    outcome = run(specs, 4)
    assert (
        sorted(set(outcome.failed.values())) == ["E_CONFIG it breaks"] and len(outcome.failed) == 6
    )
    assert [is_done(spec) for spec in specs] == [
        spec.cell.arm.name == "supervised" for spec in specs
    ]
    assert {CellOutcome(spec).read()["code"] for spec in specs if is_done(spec)} == {package_code()}


def test_other_settings_are_not_mixed_in(dataset: Path, tmp_path: Path) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    CellOutcome(specs[0]).claim()
    changed = replace(specs[0], iterations=9)
    with pytest.raises(ConfigError, match="not mixed"):
        run([changed])


def test_a_cell_has_one_owner(dataset: Path, tmp_path: Path) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    lock = WorkLock(specs[0].folder / "lock")
    assert lock.acquire() and not WorkLock(specs[0].folder / "lock").acquire()
    outcome = run(specs[:1])
    assert outcome.elsewhere == [specs[0].cell.id] and not is_done(specs[0])
    lock.release()
    run(specs[:1])
    assert is_done(specs[0])


def test_a_lock_of_another_machine_goes_stale(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    assert not WorkLock(path).acquire()
    os.utime(path, (time.time() - 1000,) * 2)
    assert WorkLock(path).acquire()
    assert json.loads(path.read_text())["host"] == socket.gethostname()


def test_the_training_of_a_killed_study_is_ended_first(tmp_path: Path) -> None:
    """Else two processes would write into one folder."""
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    path = tmp_path / "lock"
    lock = WorkLock(path)
    assert lock.acquire()
    lock.note_child(orphan.pid)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "pid": 2**22 - 1, "started": "long ago"}))
    assert WorkLock(path).acquire()
    assert orphan.wait(5) == -signal.SIGKILL


def test_time_left_by_the_pace_of_what_is_done(dataset: Path, tmp_path: Path) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    assert seconds_left(specs) is None
    started = time.monotonic()
    run(specs[:1])
    took = time.monotonic() - started
    left = seconds_left(specs)
    assert left is not None and 0.2 * 11 * took < left <= 11 * took
    run(specs[:1])  # a further run of what is finished changes nothing
    assert seconds_left(specs) == left
    CellOutcome(specs[1]).claim()
    (specs[1].folder / "learning_curve.csv").write_text("iteration\n4\n")
    assert seconds_left(specs) == pytest.approx(left * 10.5 / 11)


def test_budgets_and_seeds_share_one_split(dataset: Path, tmp_path: Path) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    assert len({spec.datalist for spec in specs}) == 6 and len(specs) == 12
    tests = {json.dumps(json.loads(spec.datalist.read_text())["test"]) for spec in specs}
    assert len(tests) == 1


if __name__ == "__main__":
    study(Path(sys.argv[1]), Path(sys.argv[2]))
