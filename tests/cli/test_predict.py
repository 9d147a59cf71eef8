"""The predict verb with configs of the user's."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from monai.bundle import ConfigParser

from monai_semiseg.bundles import keys
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


@pytest.mark.parametrize("kind", ["native", "both"])
def test_each_file_is_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kit: SimpleNamespace, kind: str
) -> None:
    """Parse a config once, and once in MONAI's workflow; a DICOM file to list and to read."""
    configs: Counter[str] = Counter()
    slices: Counter[tuple[str, bool]] = Counter()
    load, read = ConfigParser.load_config_file, pydicom.dcmread

    def counted_load(file: Any, **settings: Any) -> Any:
        configs[Path(file).name] += 1
        return load(file, **settings)

    def counted_read(file: Any, **settings: Any) -> pydicom.FileDataset:
        slices[Path(file).name, settings.get("stop_before_pixels", False)] += 1
        return read(file, **settings)

    monkeypatch.setattr(ConfigParser, "load_config_file", counted_load)
    monkeypatch.setattr(pydicom, "dcmread", counted_read)
    keys._parsed.cache_clear()
    kit.write_dicom(tmp_path / "in", kit.values((20, 18, 5)))
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("overlap: 0.0\n")
    more = ["--config", str(overlay), "--output_type", kind]
    where = ["--output", str(tmp_path / "out"), "--bundle", str(BUNDLE), "--device", "cpu"]
    assert main(["predict", str(tmp_path / "in"), *where, *more]) in (0, 5)
    assert configs.pop("inference.json") == configs.pop("mine.yaml") == 2
    others = ("metadata.json", "train.json", "evaluate.json", "multi_gpu_train.json")
    assert configs == dict.fromkeys(others, 1)
    headers = 2 if kind == "both" else 1  # DICOM SEG takes patient and study from the slices
    names = [f"{k:03}.dcm" for k in range(5)]
    assert slices == {(name, h): headers if h else 1 for name in names for h in (True, False)}


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
