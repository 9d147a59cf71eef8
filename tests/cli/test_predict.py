"""The predict verb with configs of the user's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "semisupervised_baselines"


def predict(output: Path, *configs: Path) -> int:
    scan = ROOT / "sample_data" / "scans" / "plain.nii"
    more = []
    for file in configs:
        more += ["--config", str(file)]
    where = ["--output", str(output), "--bundle", str(BUNDLE), "--device", "cpu"]
    return main(["predict", str(scan), *where, "--no_preview", *more])


def test_configs_are_merged_last(tmp_path: Path) -> None:
    for number, overlap in enumerate((0.75, 0.25)):
        (tmp_path / f"{number}.yaml").write_text(f"overlap: {overlap}\n")
    assert predict(tmp_path / "out", tmp_path / "0.yaml", tmp_path / "1.yaml") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["overlap"] == 0.25


def test_leaving_out_background_as_documented_leaves_the_mask_as_it_is(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "folder_runs.md").read_text(), re.S)
    (tmp_path / "foreground.yaml").write_text(text)
    assert (
        predict(tmp_path / "whole") == predict(tmp_path / "box", tmp_path / "foreground.yaml") == 0
    )
    masks = [
        np.asarray(nib.load(tmp_path / name / "plain_seg.nii.gz").dataobj)
        for name in ("whole", "box")
    ]
    assert masks[0].any() and np.array_equal(*masks)


def test_a_config_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(tmp_path / "out", tmp_path / "nowhere.yaml") == 2
    assert "nowhere.yaml" in capsys.readouterr().err and not (tmp_path / "out").exists()
