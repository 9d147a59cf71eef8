"""Starts in nnU-Net's trainer: table, refusals, steps that are done, and one whole run."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.benchmarks import nnunet_starts, nnunet_steps
from monai_semiseg.benchmarks.nnunet_cells import (
    Lengths,
    Planning,
    StartCell,
    arms_of,
    start_cells,
)
from monai_semiseg.benchmarks.nnunet_starts_table import as_markdown, summarise_starts
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.weight_files import read_checkpoint
from monai_semiseg.study.grid import Cell, make_grid
from monai_semiseg.study.results import Row


def rows(start: str, labelled: int, by_split: dict[int, list[float]]) -> list[Row]:
    return [
        Row(start, labelled, split, 0, f"c{case:02}", "1", "x", (value, 0.9, 2.0, 1.0))
        for split, dice in by_split.items()
        for case, value in enumerate(dice)
    ]


def test_the_table_has_differences_of_the_same_splits_and_cases() -> None:
    none = {0: [0.5, 0.6, 0.7, 0.8], 1: [0.4, 0.5, 0.6, 0.7]}
    better = {0: [0.52, 0.63, 0.71, 0.83], 1: [0.45, 0.54, 0.66, 0.74]}
    all_rows = [
        *rows("hebbian", 4, better),
        *rows("none", 4, none),
        *rows("none", 20, {0: none[0]}),
        *rows("contrastive", 20, {1: better[1]}),
    ]
    found = summarise_starts(all_rows, ["none", "hebbian", "contrastive"], "none")
    names = [(one.labelled, one.start) for one in found]
    assert names == [(4, "none"), (4, "hebbian"), (20, "none"), (20, "contrastive")]
    differences = np.subtract(list(better.values()), list(none.values()))
    against = found[1].against
    assert against is not None
    assert against.comparison.difference == pytest.approx(differences.mean())
    assert against.by_split == pytest.approx(differences.mean(1))
    low, high = against.comparison.interval
    assert differences.min() < low < differences.mean() < high < differences.max()
    assert found[1].dice == pytest.approx(np.mean(list(better.values())))
    assert found[1].p_holm == pytest.approx(2 / 2**4)  # signed ranks of four cases, one side all
    assert found[0].against is None and found[3].against is None  # no split in common
    lines = as_markdown(found, "none").splitlines()
    assert lines[3].startswith("| 4 | hebbian | 2 x 1 | 0.6350 [")
    assert "| +0.0350 [" in lines[3] and "| +0.0225, +0.0475 | 0.12 | 100% |" in lines[3]
    assert lines[5].startswith("| 20 | contrastive | 1 x 1 | 0.5975 [")
    assert lines[5].endswith("|  |  |  |  |")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--starts", "none,hebian"], "did you mean 'hebbian'?"),
        (["--starts", "hebbian"], "none among them"),
        (["--iterations", "25"], "epochs that divide the iterations"),
        (["--start_iterations", "0"], "at least 1 of each"),
        (["--executor", "many"], "--executor 'many'"),
        (["--labelled", "9"], "labelled"),
        ([], "no such folder"),
    ],
    ids=["start", "reference", "epochs", "length", "executor", "budget", "dataset"],
)
def test_what_cannot_be_stops_before_any_work(
    words: list[str],
    said: str,
    tmp_path: Path,
    write_dataset: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("nnunetv2")
    data = tmp_path / "data"
    if words:
        write_dataset(data, scans=2, shape=(20, 22, 18))
    where = ["--output", str(tmp_path / "out"), "--test", "1"]
    assert nnunet_starts.main([str(data), *where, *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nnunetv2", None)
    assert nnunet_starts.main([str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "pip install 'monai_semiseg[nnunet]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interruption_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(nnunet_starts, "run", interrupted)
    assert nnunet_starts.main([str(tmp_path), "--output", str(tmp_path / "out")]) == 4
    assert "run the same command again to go on" in capsys.readouterr().err


def test_labels_with_gaps_are_refused_before_any_file(tmp_path: Path) -> None:
    for kind, value in (("images", 5), ("labels", 3)):
        (tmp_path / kind).mkdir()
        for n in range(2):
            voxels = np.zeros((4, 4, 4), np.uint8)
            voxels[1:3] = value
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / kind / f"{n}.nii")
    dataset = open_dataset(tmp_path)
    dataset.labels = {0: "background", 1: "a", 3: "b"}
    arms = arms_of(["none"], Lengths(2, 1, 1), Planning())
    grid = make_grid(
        dataset,
        tmp_path / "out",
        arms,
        labelled=["1"],
        splits=[0],
        seeds=[0],
        test=1,
        iterations=2,
    )
    with pytest.raises(ConfigError, match="labels 0, 1, 3") as told:
        start_cells(grid, dataset, "cpu")
    assert "monai-semiseg convert DATASET --to nnunet" in str(told.value)
    assert not (tmp_path / "out").exists()


def cell(folder: Path, start: str, **changed: Any) -> StartCell:
    """Return a cell whose data nnU-Net has prepared."""
    options = {"pretrain": "--set num_workers=0", "disable_tta": True, **changed}
    arm = arms_of(["none", start], Lengths(6, 3, 5), Planning(), **options)[-1]
    nnunet = folder / "splits" / "one" / "nnunet"
    nnunet.mkdir(parents=True, exist_ok=True)
    content = {"asked": vars(Planning()), "configuration": "2d"}
    (nnunet / "prepared.json").write_text(json.dumps(content))
    split = folder / "splits" / "one"
    return StartCell(
        Cell(arm, 4, 1, 7),
        folder / "cells" / start,
        split / "datalist.json",
        split / "plan.yaml",
        6,
        folder / "data",
        "cpu",
    )


def done(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")


def test_steps_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    spec = cell(tmp_path, "hebbian")
    start = tmp_path / "cells" / "hebbian" / "start" / "nnunet_pretrained.pth"
    model = spec.folder / "results" / "Dataset001_Starts" / "nnUNetTrainer__nnUNetPlans__2d"
    pretrain, train, evaluate = nnunet_steps.start_commands(spec, ["--label", "mask"])
    assert pretrain[3:7] == ["pretrain", str(tmp_path / "data"), "--label", "mask"]
    text = " ".join(pretrain)
    assert "nnUNetPlans.json:2d --iterations 5 --seed 7" in text
    assert text.endswith("--resume --set num_workers=0")
    text = " ".join(train)
    assert f"nnunet_process train {spec.nnunet} --configuration 2d" in text
    assert "--seed 7 --epochs 3 --epoch_iterations 2 --device cpu" in text
    assert text.endswith(f"--pretrained_weights {start}")
    assert evaluate[3:5] == ["evaluate", str(tmp_path / "data")]
    assert " ".join(evaluate).endswith(
        f"--weights {model}:all --output {spec.folder / 'test'} --set mirror_axes=[]"
    )
    done(start)
    assert nnunet_steps.start_commands(spec) == [train, evaluate]
    done(model / "fold_all" / "checkpoint_final.pth")
    assert nnunet_steps.start_commands(spec) == [evaluate]


def test_none_needs_no_start(tmp_path: Path) -> None:
    train, evaluate = nnunet_steps.start_commands(cell(tmp_path, "none", disable_tta=False))
    assert "--pretrained_weights" not in train and "--set" not in evaluate


def test_other_lengths_of_a_start_do_not_change_the_cells_without_one(tmp_path: Path) -> None:
    for name in ("datalist.json", "plan.yaml"):
        (tmp_path / "splits" / "one").mkdir(parents=True, exist_ok=True)
        (tmp_path / "splits" / "one" / name).write_text("{}")
    same, other = (cell(tmp_path, "none", pretrain=words).digest() for words in ("", "--seed 3"))
    assert same == other
    same, other = (cell(tmp_path, "hebbian", pretrain=words).digest() for words in ("", "--seed 3"))
    assert same != other


def test_a_split_is_prepared_once_and_for_one_configuration(tmp_path: Path) -> None:
    spec = cell(tmp_path, "none")
    nothing: Any = None  # no dataset is looked at
    nnunet_steps.prepare_nnunet(spec, nothing, Planning())
    with pytest.raises(ConfigError, match="was prepared with"):
        nnunet_steps.prepare_nnunet(spec, nothing, Planning("3d_fullres"))


def test_a_planner_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = cell(tmp_path, "none")
    (spec.nnunet / "prepared.json").unlink()
    (spec.nnunet / "raw" / "Dataset001_Starts").mkdir(parents=True)  # converted already

    def fail(command: list[str], stdout: Any, **_: Any) -> subprocess.CompletedProcess[bytes]:
        stdout.write(b"E_CONFIG no configuration '4d'\n  expected: another\n")
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setattr(subprocess, "run", fail)
    nothing: Any = None
    with pytest.raises(ConfigError, match="no configuration '4d'"):
        nnunet_steps.prepare_nnunet(spec, nothing, Planning("4d"))


@pytest.mark.slow
def test_a_whole_run_and_its_repetition(
    write_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nnunetv2")
    data = write_dataset(tmp_path / "data", scans=4, shape=(20, 22, 18))
    out = tmp_path / "out"
    words = [str(data), "--output", str(out), "--labelled", "2", "--splits", "0", "--test", "1"]
    words += ["--starts", "none,hebbian", "--iterations", "2", "--epochs", "2"]
    words += ["--start_iterations", "1", "--pretrain=--set num_workers=0", "--disable_tta"]
    words += ["--device", "cpu", "--configuration", "2d"]
    assert nnunet_starts.main(words) == 0, [file.read_text() for file in out.rglob("log.txt")]
    table = capsys.readouterr().out
    assert table == (out / "summary.md").read_text()
    assert [line.split(" | ")[1] for line in table.splitlines()[2:]] == ["none", "hebbian"]
    with (out / "results.csv").open() as stream:
        scores = list(csv.DictReader(stream))
    (split,) = (out / "splits").iterdir()
    datalist = json.loads((split / "datalist.json").read_text())
    (test,) = (Path(entry["image"]).name.removesuffix(".nii.gz") for entry in datalist["test"])
    assert {(row["arm"], row["labelled"], row["case"]) for row in scores} == {
        ("none", "2", test),
        ("hebbian", "2", test),
    }
    converted = json.loads((split / "nnunet/raw/Dataset001_Starts/conversion.json").read_text())
    labelled = {Path(entry["image"]).name[:-7] for entry in datalist["training"]}
    assert set(converted["cases"].values()) == labelled and len(labelled) == 2
    protocol = json.loads((out / "protocol.json").read_text())
    assert protocol["versions"]["nnunetv2"] and protocol["settings"]["iterations"] == 2
    assert protocol["plans"][split.name]["configuration"] == "2d"

    checkpoints = sorted(out.rglob("checkpoint_final.pth"))
    assert len(checkpoints) == 2
    for file in checkpoints:
        content = read_checkpoint(file)
        assert content["init_args"]["fold"] == "all"
        logged = next(file.parent.glob("training_log*")).read_text()
        second = 0.01 * (1 - 1 / 2) ** 0.9  # nnU-Net's schedule over two epochs
        assert f"Current learning rate: {second:.5f}" in logged and "Epoch 2" not in logged
    log = next((out / "cells").glob("hebbian*")) / "log.txt"
    assert "Loading pretrained weights from file" in log.read_text()

    before = {file: file.stat().st_mtime_ns for file in (*out.rglob("*.pth"), *out.rglob("cell*"))}
    assert nnunet_starts.main(words) == 0
    assert capsys.readouterr().out == table
    assert {file: file.stat().st_mtime_ns for file in before} == before
