"""A study that is killed and run again ends with the same bytes; cells are never mixed."""

from __future__ import annotations

import json
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.executors.choice import ExecutorChoice, parse_executor
from monai_semiseg.storage.processes import is_running
from monai_semiseg.study import cell_work, runner
from monai_semiseg.study.answer import answer
from monai_semiseg.study.arms import LONGER, Arm
from monai_semiseg.study.cell import CellSpec, prepare_cells
from monai_semiseg.study.cell_work import CellWork
from monai_semiseg.study.grid import Grid, make_grid
from monai_semiseg.study.outcome import CellOutcome, seconds_left
from monai_semiseg.study.provenance import package_code
from monai_semiseg.study.report import write_results
from monai_semiseg.study.results import read_rows, summarise
from monai_semiseg.study.runner import RunOutcome, run_cells
from tests.executor_kinds import ENGINES, engine
from tests.study.cell_builders import finish, make_dataset, small_study

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
# Stands for a training: resumable, its scores a function of arm, budget and split. Where a file
# asks for it, the study is killed in the middle of a training, which then runs on without it.
TRAIN = """
import os, pathlib, signal, sys, time
folder, arm, split = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
kill = folder.parent.parent / "kill"
curve = folder / "learning_curve.csv"
rows = curve.read_text().split() if curve.exists() else ["iteration"]
print("it begins", flush=True)
if arm == "breaks": sys.exit("E_CONFIG it breaks")
if arm == "is_killed": os.kill(os.getpid(), signal.SIGKILL)
while (folder.parent.parent / "wait").exists(): time.sleep(0.01)
for step in range(len(rows), 9):
    rows.append(str(step))
    curve.write_text("\\n".join(rows))
    if step == 4 and kill.exists():
        kill.rename(kill.with_name(f"orphan_{os.getpid()}"))
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
(folder / "model.pt").write_text(f"{arm} {split}")
"""
EVALUATE = """
import pathlib, sys
folder, arm, split = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
labelled = int(sys.argv[4])
(folder / "test").mkdir(exist_ok=True)
lines = ["case,class,name,dice,surface_dice_1mm,hd95_mm,asd_mm"]
for case in range(4):
    dice = 1 - (0.3 - 0.05 * (arm != "supervised")) * labelled ** -0.3 + 0.01 * case + 0.002 * split
    lines += [f"c{case},{n},x{n},{dice - 0.01 * n:.5f},0.9,1.5,0.5" for n in (1, 2)]
(folder / "test" / "metrics.csv").write_text("\\n".join(lines) + "\\n")
"""

RESULTS = (
    "results.csv",
    "summary.csv",
    "summary.md",
    "protocol.json",
    "curve.png",
    "differences.png",
    "report.html",
    "answer.txt",
)


def commands(spec: CellSpec) -> list[list[str]]:
    """Return commands that only write what a training and an evaluation would."""
    cell = spec.cell
    facts = [str(spec.folder), cell.arm.name, str(cell.split), str(cell.labelled)]
    return [[sys.executable, "-c", script, *facts] for script in (TRAIN, EVALUATE)]


WORK = CellWork(commands=commands, interval=0.01)


def quiet(folder: Path) -> dict[str, Any]:
    return {"logs": folder / "logs", "progress": False}


def run(specs: list[CellSpec], parallel: int = 1) -> RunOutcome:
    chosen = ExecutorChoice(workers=parallel)
    return run_cells(specs, executor=chosen, work=WORK, **quiet(specs[0].folder.parents[1]))


def is_done(spec: CellSpec) -> bool:
    return CellOutcome(spec).done


def make_specs(
    dataset: Path, output: Path, names: tuple[str, ...] = ("supervised", "other"), **changed: Any
) -> tuple[Grid, list[CellSpec]]:
    arms = [Arm(name, BUNDLE) for name in names]
    grid = make_grid(open_dataset(dataset), output, arms, **small_study(**changed))
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


def test_killed_again_and_again(
    dataset: Path, whole: Path, tmp_path: Path, count_kills: Callable[..., int]
) -> None:
    """Kill it at one change of a file after another, and in a training; compare the bytes."""
    output = tmp_path / "study"
    output.mkdir()
    (output / "kill").touch()
    assert count_kills(lambda: study(dataset, output), output, step=30) >= 4
    for name in RESULTS:
        assert (output / name).read_bytes() == (whole / name).read_bytes(), name
    assert not list(output.rglob("attempt.json"))
    (orphan,) = output.glob("orphan_*")
    assert not is_running(int(orphan.name.removeprefix("orphan_")))


def test_what_it_says(whole: Path, dataset: Path) -> None:
    rows = read_rows(make_specs(dataset, whole)[1])
    assert len(rows) == 2 * 3 * 2 * 4 * 2
    summaries = {(one.arm, one.labelled): one for one in summarise(rows)}
    other = summaries["other", 4]
    assert other.against is not None and other.against.comparison.difference == pytest.approx(
        0.05 * 4**-0.3, abs=1e-4
    )
    assert other.means["dice"] == pytest.approx(
        1 - 0.25 * 4**-0.3 + 0.015 + 0.001 - 0.015, abs=1e-4
    )
    assert summaries["supervised", 4].against is None
    of_splits = [one.split_means for one in (other, summaries["supervised", 4])]
    assert np.mean(other.against.by_split) == pytest.approx(
        np.mean(of_splits[0]) - np.mean(of_splits[1])
    )
    assert other.against.runs == other.runs == ((0, 0), (1, 0))
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


def test_finished_cells_are_kept(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    run(specs, 4)
    times = [(spec.folder / "model.pt").stat().st_mtime_ns for spec in specs]
    assert len(times) == 12
    monkeypatch.setattr(cell_work, "subprocess", None)  # nothing is started any more
    run(specs, 4)
    assert [(spec.folder / "model.pt").stat().st_mtime_ns for spec in specs] == times


def test_a_table_is_extended_without_the_old_cells(dataset: Path, tmp_path: Path) -> None:
    """Extend it by a split, a seed, a budget, an arm and the gates, one after the other."""
    larger: dict[str, Any] = {"names": ("supervised",), "labelled": ["4"], "splits": [0]}
    finished: set[str] = set()
    for change in (
        {},
        {"splits": [0, 1]},
        {"seeds": [0, 1]},
        {"labelled": ["4", "6"]},
        {"names": ("supervised", "other")},
        {"gates": True},
    ):
        larger |= change
        grid, specs = make_specs(dataset, tmp_path / "study", **larger)
        assert {spec.name for spec in specs if is_done(spec)} == finished
        for spec in specs:
            CellOutcome(spec).claim()  # refused if it is another cell than the one that is there
            if not is_done(spec):
                finish(spec, 0.7 + 0.01 * spec.cell.labelled)
        finished = {spec.name for spec in specs}
    write_results(grid, specs)
    assert len(finished) == 2 * 2 * 2 * 2 + 2 * 2
    told = (grid.output / "answer.txt").read_text().splitlines()
    summary = (grid.output / "summary.md").read_text()
    assert (
        told[0].startswith("Headroom: all 12 labels against 4: +0.0") and "Headroom" not in summary
    )
    assert LONGER in (grid.output / "results.csv").read_text() and LONGER not in summary
    assert "| 2 x 2 |" in summary and "| 1 x 2 |" in summary


def test_a_table_without_headroom_says_so_first(whole: Path) -> None:
    """Say so in the answer, the summary and the page."""
    words = (
        "no headroom: this table can't rank methods: twice the iterations with 2 labels: not run"
    )
    assert (whole / "answer.txt").read_text().startswith(words)
    assert (whole / "summary.md").read_text().startswith(words)
    page = (whole / "report.html").read_text()
    assert page.index("twice the iterations with 2 labels") < page.index("the best mean Dice is")


@pytest.mark.parametrize("changed", [{"validation": 0.3}, {"test": "1*"}, {"test": 5}], ids=str)
def test_other_splits_are_not_mixed_in(
    changed: dict[str, Any], dataset: Path, tmp_path: Path
) -> None:
    asked = {"labelled": ["4"], "splits": [0], **changed}
    make_specs(dataset, tmp_path / "other", **asked)
    make_specs(dataset, tmp_path / "study", labelled=["4"], splits=[0])
    with pytest.raises(ConfigError, match="split the scans in another way"):
        make_specs(dataset, tmp_path / "study", **asked)


def test_validation_and_test_scans_are_as_asked(dataset: Path, tmp_path: Path) -> None:
    found = []
    for number, changed in enumerate(({}, {"validation": 0.3}, {"test": "1*"})):
        asked = {"labelled": ["4"], "splits": [0], **changed}
        _, (spec, _) = make_specs(dataset, tmp_path / str(number), **asked)
        content = json.loads(spec.datalist.read_text())
        found.append([len(content[part]) for part in ("training", "validation", "test")])
    assert found == [[4, 0, 4], [3, 1, 4], [4, 0, 7]]


def test_a_failing_cell_fails_alone(dataset: Path, tmp_path: Path) -> None:
    _, specs = make_specs(dataset, tmp_path / "study", ("supervised", "breaks"))
    outcome = run(specs, 4)
    assert {line for line, _ in outcome.failed.values()} == {"E_CONFIG it breaks"} and len(
        outcome.failed
    ) == 6
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


def test_of_two_runs_the_later_one_goes_on(dataset: Path, tmp_path: Path) -> None:
    """Check that the first ends its training as soon as it sees that.

    Says who works on the cell.
    """
    _, (spec, *_) = make_specs(dataset, tmp_path / "study")
    (tmp_path / "study" / "wait").touch()
    log = spec.folder / "log.txt"
    ends: dict[int, RunOutcome] = {}
    pids = []
    runs = [threading.Thread(target=lambda n=n: ends.update({n: run([spec])})) for n in range(2)]
    for number, one in enumerate(runs, 1):
        one.start()
        while not (log.is_file() and log.read_text().count("it begins") == number):
            time.sleep(0.01)
        while recorded(spec).get("pid") in (None, *pids):
            time.sleep(0.01)
        pids.append(recorded(spec)["pid"])
    (tmp_path / "study" / "wait").unlink()
    for one in runs:
        one.join()
    assert is_done(spec) and not ends[1].failed and not ends[1].elsewhere
    assert not ends[0].failed and pids[0] != pids[1] and not any(map(is_running, pids))
    assert log.read_text().count("it begins") == 2  # the first has not begun it again
    assert not (spec.folder / "attempt.json").exists()


def recorded(spec: CellSpec) -> dict[str, Any]:
    try:
        return json.loads((spec.folder / "attempt.json").read_text())  # type: ignore[no-any-return]
    except OSError:
        return {}


def test_a_killed_training_is_run_again_and_then_named(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, specs = make_specs(dataset, tmp_path / "study", ("supervised", "is_killed"))
    shown: list[list[str]] = []
    monkeypatch.setattr(runner._Progress, "show", lambda self: shown.append([*self.names]))
    outcome = run(specs[:3], 2)
    assert shown[-1] == [] and all(len(set(names)) == len(names) for names in shown)
    assert [is_done(spec) for spec in specs[:3]] == [True, False, True]
    ((reason, log),) = outcome.failed.values()
    assert "killed (signal 9)" in reason and log == specs[1].folder / "log.txt"
    assert log.read_text().count("it begins") == 1 + 3


def test_a_study_with_old_locks_goes_on(dataset: Path, whole: Path, tmp_path: Path) -> None:
    """Resume a study whose cells hold a lock of an earlier version."""
    grid, specs = make_specs(dataset, tmp_path / "study")
    run(specs[:2])
    for spec in specs[1:4]:
        spec.folder.mkdir(parents=True, exist_ok=True)
        content = {"host": platform.node(), "pid": 1, "started": "1.00", "child": 1}
        (spec.folder / "lock").write_text(json.dumps(content))
    (specs[3].folder / "learning_curve.csv").write_text("iteration\n1\n2")
    outcome = run(specs)
    write_results(grid, specs)
    assert not outcome.failed and not outcome.elsewhere
    for name in RESULTS:
        assert (grid.output / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_ends_with_the_same_bytes(
    name: str, dataset: Path, whole: Path, tmp_path: Path
) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    word = engine(name, tmp_path)
    outcome = run_cells(specs[:2], executor=parse_executor(word), work=WORK, **quiet(tmp_path))
    assert not outcome.failed and [is_done(spec) for spec in specs[:3]] == [True, True, False]
    for spec in specs[:2]:
        theirs = whole / "cells" / spec.name
        for file in sorted(theirs.rglob("*")):
            mine = spec.folder / file.relative_to(theirs)
            assert mine.exists(), file
            if file.is_file() and file.name != "cell.json":  # it has the time
                assert mine.read_bytes() == file.read_bytes(), file
        assert len(list(theirs.rglob("*"))) == len(list(spec.folder.rglob("*")))


def test_time_left_by_the_pace_of_what_is_done(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    assert seconds_left(specs) is None
    looks = iter((100.0, 116.0))  # the cell begins, the cell ends: 2 s an iteration
    monkeypatch.setattr(cell_work, "time", SimpleNamespace(monotonic=lambda: next(looks)))
    run(specs[:1])
    assert seconds_left(specs) == 11 * 8 * 2
    run(specs[:1])  # a further run of what is finished changes nothing
    assert seconds_left(specs) == 11 * 8 * 2
    CellOutcome(specs[1]).claim()
    (specs[1].folder / "learning_curve.csv").write_text("iteration\n4\n")
    assert seconds_left(specs) == (10 * 8 + 4) * 2


def test_arms_share_one_split(dataset: Path, tmp_path: Path) -> None:
    _, specs = make_specs(dataset, tmp_path / "study")
    assert len({spec.datalist for spec in specs}) == 6 and len(specs) == 12
    tests = {json.dumps(json.loads(spec.datalist.read_text())["test"]) for spec in specs}
    assert len(tests) == 1
