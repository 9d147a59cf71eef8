"""Tables of a finished study made anew from its scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from monai_semiseg.benchmarks.study_tables import remake
from monai_semiseg.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "bundles" / "semisupervised_baselines" / "docs" / "study_left_atrium"


def test_the_shipped_tables_are_those_of_today(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(STUDY, folder)
    for name in ("summary.md", "summary.csv", "answer.txt"):
        (folder / name).unlink()
    text = remake(folder, 60)
    for name in ("summary.md", "summary.csv", "answer.txt"):
        assert (folder / name).read_bytes() == (STUDY / name).read_bytes(), name
    assert "+0.0412 [+0.0192, +0.0667]" in text and "no headroom" in text


def test_a_folder_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no results of a study"):
        remake(tmp_path, 60)
    (tmp_path / "results.csv").write_text("arm,labelled,split,seed\n")
    (tmp_path / "protocol.json").write_text("{}")
    with pytest.raises(ConfigError, match="names no versions and cells"):
        remake(tmp_path, 60)
