"""Starts in nnU-Net's trainer: table, refusals, steps that are done, and one whole run."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
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
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.weight_files import read_checkpoint
from monai_semiseg.study.arms import Arm
from monai_semiseg.study.grid import Cell, Grid, make_grid, split_id
from monai_semiseg.study.outcome import CellOutcome


def test_the_table_compares_each_start_with_none(tmp_path: Path) -> None:
    """Differences are of the same splits and cases; starts stand as they were asked for."""
    dice = {
        ("none", 4, 0): [0.5, 0.6, 0.7, 0.8],
        ("none", 4, 1): [0.4, 0.5, 0.6, 0.7],
        ("hebbian", 4, 0): [0.52, 0.63, 0.71, 0.83],
        ("hebbian", 4, 1): [0.45, 0.54, 0.66, 0.74],
        ("none", 20, 0): [0.5, 0.6, 0.7, 0.8],
        ("contrastive", 20, 1): [0.6, 0.7, 0.8, 0.9],
    }
    names = ["none", "hebbian", "contrastive"]
    arms = arms_of(names, Lengths(2, 1, 1), Planning())
    specs = [scored(tmp_path, arms, *key, values) for key, values in dice.items()]
    grid = Grid(tmp_path, tmp_path, tuple(arms), (4, 20), (0, 1), (0,), 30, 4, 2)
    text = nnunet_starts.write_results(grid, specs, {"seeds": "0"})
    assert text == (tmp_path / "summary.md").read_text()
    head, _, *lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
    ]
    assert head[4] == "difference to none"
    assert [line[:3] for line in lines] == [
        ["4", "none", "2 x 1"],
        ["4", "hebbian", "2 x 1"],
        ["20", "none", "1 x 1"],
        ["20", "contrastive", "1 x 1"],
    ]
    assert lines[0][4:8] == [""] * 4 and lines[3][4:8] == [""] * 4  # no split in common
    differences = [np.subtract(dice["hebbian", 4, n], dice["none", 4, n]) for n in (0, 1)]
    assert lines[1][3].startswith("0.6350 [")
    assert lines[1][4].startswith(f"{np.mean(differences):+.4f} [")
    assert lines[1][5] == ", ".join(f"{one.mean():+.4f}" for one in differences)
    assert lines[1][6:8] == ["0.12", "100%"]  # 2 / 2^4: signed ranks of four cases of one sign
    protocol = json.loads((tmp_path / "protocol.json").read_text())
    assert protocol["settings"] == {"seeds": "0"} and len(protocol["cells"]) == 6
    assert protocol["plans"]["4_labelled__split_0"]["configuration"] == "2d"


def scored(
    folder: Path, arms: Sequence[Arm], start: str, labelled: int, split: int, dice: Sequence[float]
) -> StartCell:
    """Return a finished cell with these Dice coefficients."""
    (arm,) = (one for one in arms if one.name == start)
    spec = cell(folder, arm, labelled, split)
    done(spec.weights)
    for file in (spec.datalist, spec.plan):
        file.write_text("{}")
    (spec.folder / "test").mkdir()
    lines = ["case,class,name,dice,surface_dice_1mm,hd95_mm,asd_mm"]
    lines += [f"c{n},1,x,{value},0.9,1.5,0.5" for n, value in enumerate(dice)]
    (spec.folder / "test" / "metrics.csv").write_text("\n".join(lines) + "\n")
    CellOutcome(spec).finish()
    return spec


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


def arm_of(start: str, **changed: Any) -> Arm:
    options = {"pretrain": "--set num_workers=0", "disable_tta": True, **changed}
    return arms_of(["none", start], Lengths(6, 3, 5), Planning(), **options)[-1]


def cell(folder: Path, arm: Arm, labelled: int = 4, split: int = 1) -> StartCell:
    """Return a cell of six iterations whose data nnU-Net has prepared."""
    where = folder / "splits" / split_id(labelled, split)
    (where / "nnunet").mkdir(parents=True, exist_ok=True)
    content = {"asked": vars(Planning()), "configuration": "2d"}
    (where / "nnunet" / "prepared.json").write_text(json.dumps(content))
    one = Cell(arm, labelled, split, 7)
    files = (where / "datalist.json", where / "plan.yaml")
    return StartCell(one, folder / "cells" / one.id, *files, 6, folder / "data", "cpu")


def done(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")


def test_steps_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    spec = cell(tmp_path, arm_of("hebbian"))
    start = spec.folder / "start" / "nnunet_pretrained.pth"
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
    train, evaluate = nnunet_steps.start_commands(cell(tmp_path, arm_of("none", disable_tta=False)))
    assert "--pretrained_weights" not in train and "--set" not in evaluate


def test_words_for_a_start_do_not_change_the_cells_without_one() -> None:
    for start, is_same in (("none", True), ("hebbian", False)):
        one, other = (arm_of(start, pretrain=words).settings for words in ("", "--seed 3"))
        assert (one == other) is is_same


def test_a_split_is_prepared_once_and_for_one_configuration(tmp_path: Path) -> None:
    spec = cell(tmp_path, arm_of("none"))
    nothing: Any = None  # no dataset is looked at
    nnunet_steps.prepare_nnunet(spec, nothing, Planning())
    with pytest.raises(ConfigError, match="was prepared with"):
        nnunet_steps.prepare_nnunet(spec, nothing, Planning("3d_fullres"))


def test_a_planner_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = cell(tmp_path, arm_of("none"))
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
