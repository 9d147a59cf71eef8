"""The predict verb with configs of the user's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from monai_semiseg.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "semisupervised_baselines"


def test_configs_are_merged_last(tmp_path: Path) -> None:
    """The docs' example, which leaves windows over background out."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "bundles" / "docs" / "folder_runs.md").read_text(), re.S)
    (tmp_path / "foreground.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text("overlap: 0.25\n")
    scan = ROOT / "sample_data" / "scans" / "plain.nii"
    configs = ["--config", str(tmp_path / "foreground.yaml"), "--config", str(tmp_path / "other.yaml")]
    assert main(["predict", str(scan), "--output", str(tmp_path / "out"), "--bundle", str(BUNDLE), "--device", "cpu",
                 "--no_preview", *configs]) == 0  # fmt: skip
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["overlap"] == 0.25 and report["cases"][0]["status"] == "done"


def test_a_config_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["predict", "x", "--output", str(tmp_path / "out"), "--bundle", str(BUNDLE), "--config", "nowhere.yaml"]
    assert main(command) == 2
    assert "nowhere.yaml" in capsys.readouterr().err
