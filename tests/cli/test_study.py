"""The verb: trainings of a few steps through the bundle, and requests that are refused first."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

import pytest
import yaml

from monai_semiseg.cli.main import main
from monai_semiseg.cli.study import add_arguments
from monai_semiseg.study import runner
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.runner import RunOutcome
from tests.study.cell_builders import finish

ROOT = Path(__file__).resolve().parents[2]
DATASET = ROOT / "sample_data" / "dataset"
BUNDLE = ROOT / "bundles" / "semisupervised_baselines"
SMALL = {
    "patch_size": "[32,32,32]",
    "network_def#features": "[4,4,4,4,4,4]",
    "epoch_iterations": 1,
    "num_workers": 0,
}


def ask(output: Path, *more: str) -> int:
    where = ["--output", str(output), "--bundle", str(BUNDLE), "--device", "cpu"]
    return main(["study", str(DATASET), *where, *more])


@pytest.mark.slow
def test_a_study_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    teacher = {
        "overlays": [str(BUNDLE / "configs" / "methods" / "mean_teacher.yaml")],
        "settings": SMALL,
    }
    arms = {"supervised": {"settings": SMALL}, "teacher": teacher}
    config = {"arms": arms, "labelled": [4], "splits": [0], "budget": 2, "test": 2}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    options = ("--config", str(tmp_path / "study.yaml"), "--executor", "local:2")
    assert ask(tmp_path / "out", *options, "--dry_run") == 0
    assert "2 of 2 cells to do" in capsys.readouterr().out
    before = signal.getsignal(signal.SIGTERM)
    assert ask(tmp_path / "out", *options) == 0
    assert signal.getsignal(signal.SIGTERM) == before  # whoever calls it gets its own handler back
    assert "With 4 labelled scans the best mean Dice" in capsys.readouterr().out
    names = {
        "results.csv",
        "summary.csv",
        "summary.md",
        "curve.png",
        "report.html",
        "protocol.json",
        "answer.txt",
    }
    assert names <= {path.name for path in (tmp_path / "out").iterdir()}
    cells = json.loads((tmp_path / "out" / "protocol.json").read_text())["cells"]
    assert [cell["status"] for cell in cells.values()] == ["finished", "finished"]
    assert len((tmp_path / "out" / "results.csv").read_text().splitlines()) == 1 + 2 * 2 * 2
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump({**config, "also": [{"arms": "supervised", "splits": 1}]})
    )
    capsys.readouterr()
    assert ask(tmp_path / "again", *options, "--completed", str(tmp_path / "out"), "--dry_run") == 0
    told = capsys.readouterr()
    assert "results of 2 cells imported from" in told.err and "1 of 3 cells to do" in told.out
    assert ask(tmp_path / "again", *options, "--report") == 0
    assert (tmp_path / "again" / "results.csv").read_bytes() == (
        tmp_path / "out" / "results.csv"
    ).read_bytes()
    assert not (tmp_path / "again" / "cells" / "supervised__4_labelled__split_1__seed_0").exists()


def test_both_names_of_completed_studies() -> None:
    """Check that commands with the option's former name still work."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["data", "--output", "out", "--known", "a", "--completed", "b"]
    assert parser.parse_args(words).completed == [Path("a"), Path("b")]


def test_settings_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check that rates are compared first, then the cells run.

    What both will take is listed before.
    """
    ran: list[list[CellSpec]] = []

    def run_cells(specs: list[CellSpec], **_: object) -> RunOutcome:
        ran.append(specs)
        for spec in specs:
            finish(spec, 0.8 - spec.cell.arm.settings["learning_rate"])
        return RunOutcome()

    monkeypatch.setattr(runner, "run_cells", run_cells)
    config = {
        "methods": "supervised",
        "labelled": 4,
        "splits": "0,1",
        "seeds": [0, 1],
        "test": "sample_01*",
        "validation": 0.3,
        "learning_rates": [0.002, 0.0005],
        "folds": 2,
        "gates": True,
        "group": r"sample_(.*)",
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    words = ("--config", str(tmp_path / "study.yaml"), "--budget", "3", "--splits", "2")
    assert ask(tmp_path / "out", *words, "--dry_run") == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("8 trainings that compare learning rates, then 6 of 6 cells to do;")
    assert ask(tmp_path / "out", *words) == 0
    trials, cells = ran
    assert [len(trials), len(cells)] == [8, 6] and {spec.iterations for spec in cells} == {3, 6}
    assert {spec.cell.arm.settings["learning_rate"] for spec in cells} == {0.0005}
    datalist = json.loads(cells[0].datalist.read_text())
    assert datalist["split"] == {**datalist["split"], "test": "sample_01*", "validation_share": 0.3}
    assert all(entry["image"].endswith(f"{entry['group']}.nii.gz") for entry in datalist["test"])
    told = capsys.readouterr().out
    assert "Headroom" in told or "no headroom" in told
    assert (tmp_path / "out" / "learning_rates.csv").is_file()
    assert ask(tmp_path / "out", *words, "--report") == 0 and len(ran) == 2


@pytest.mark.parametrize(
    "more",
    [
        ("--methods", "mean_techer", "--labelled", "4"),
        ("--methods", "supervised", "--labelled", "99"),
        ("--methods", "supervised", "--labelled", "4", "--seeds", "x"),
        ("--methods", "supervised", "--labelled", "4", "--splits", "x"),
        ("--methods", "supervised", "--labelled", "4", "--validation", "1"),
        ("--methods", "supervised", "--labelled", "4", "--test", "nobody*"),
        ("--methods", "supervised", "--labelled", "4", "--learning_rates", "fast"),
        ("--methods", "mean_teacher", "--labelled", "4", "--gates"),
        ("--methods", "supervised", "--labelled", "4", "--executor", "local:0"),
        ("--methods", "supervised", "--labelled", "4", "--config", "gone.yaml"),
        ("--labelled", "4"),
    ],
    ids=lambda more: " ".join(more),
)
def test_refused_before_any_work(
    tmp_path: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path / "out", *more) == 2
    assert capsys.readouterr().err.startswith("E_CONFIG")
    assert not (tmp_path / "out" / "cells").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("method: supervised\n", "unknown settings ['method']"),
        ("{methods: supervised, labelled: 4, also: {labelled: 5}}", "also: {'labelled': 5}"),
        ("{methods: supervised, labelled: 4, also: [{arms: other}]}", "also names ['other']"),
        ("{methods: supervised, labelled: 4, gates: 1}", "gates: 1"),
        ("{methods: supervised, labelled: 4, folds: 1}", "in 1 folds"),
        ("{methods: supervised, labelled: 4, group: '('}", "--group"),
    ],
)
def test_unknown_keys_of_a_config(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(content)
    assert ask(tmp_path / "out", "--config", str(tmp_path / "s.yaml")) == 2
    assert words in capsys.readouterr().err
