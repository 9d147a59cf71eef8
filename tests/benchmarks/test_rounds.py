"""Simulated rounds of labelling: every step runs, costs add up, a second start does nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from monai_semiseg.benchmarks import rounds
from monai_semiseg.errors import ConfigError


@pytest.mark.slow
def test_one_round_against_random(
    write_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset(tmp_path / "data", scans=6, shape=(22, 22, 20))
    small = tmp_path / "small.yaml"
    small.write_text(yaml.safe_dump({"network_def#features": [4, 4, 4, 4, 8, 4]}))
    out = tmp_path / "out"
    words = [str(data), "--output", str(out), "--rounds", "1", "--first", "1", "--each", "2"]
    words += ["--seeds", "0", "--device", "cpu", "--test", "2"]
    words += ["--strategies", "random,doubt,kmedoids"]
    words += ["--train", f"--iterations 2 --set num_workers=0 --config {small}"]
    rounds.main(words)
    with (out / "rounds.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    found = [(row["strategy"], row["round"], row["labels"]) for row in rows]
    expected = [
        (name, *row) for name in ("random", "doubt", "kmedoids") for row in (("0", "1"), ("1", "3"))
    ]
    assert found == expected
    start = json.loads((out / "seed_0" / "start" / "datalist.json").read_text())
    (first,) = start["training"]
    label = np.asarray(nib.load(data / first["label"]).dataobj)
    assert {int(row["corrected_voxels"]) for row in rows[::2]} == {int((label > 0).sum())}
    for strategy, row in (("random", rows[1]), ("doubt", rows[3]), ("kmedoids", rows[5])):
        tasks = out / "seed_0" / strategy / "round_1" / "tasks"
        datalist = json.loads((tasks / "datalist.json").read_text())
        changed = int((label > 0).sum())
        for entry in datalist["training"][1:]:
            name = Path(entry["image"]).name
            collected = np.asarray(nib.load(data / entry["label"]).dataobj)
            truth = np.asarray(nib.load(data / "labels" / name).dataobj)
            assert np.array_equal(collected, truth)
            stem = name.removesuffix(".nii.gz")
            mask = nib.load(tasks / "proposals" / stem / f"{stem}_seg.nii.gz").get_fdata()
            changed += int((mask != truth).sum())
        assert len(datalist["training"]) == 3 and datalist["test"] == start["test"]
        assert int(row["corrected_voxels"]) == changed
    assert "| doubt | 3 |" in (out / "rounds.md").read_text()
    written = {path: path.stat().st_mtime_ns for path in out.rglob("model.pt")}
    rounds.main(words)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.pt")} == written


def test_an_unknown_strategy(tmp_path: Path) -> None:
    plan = rounds.Plan(tmp_path, tmp_path, 1, 1, 1)
    with pytest.raises(ConfigError, match="strategies best"):
        rounds.simulate(plan, ["best"], [0])
