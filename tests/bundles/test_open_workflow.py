"""Bundles opened from Python: known overrides are used, unknown ones refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.bundles.workflow import open_workflow, run_workflow
from monai_semiseg.errors import ConfigError

CONFIG: dict[str, Any] = {
    "imports": ["$from pathlib import Path"],
    "bundle_root": ".",
    "dataset_dir": "somewhere",
    "device": "cpu",
    "output_dir": "$str(Path(@bundle_root) / 'out')",
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "overlap": 0.25},
    "mark": "$Path(@output_dir).mkdir(parents=True)",
    "note": "$(Path(@output_dir) / @dataset_dir).write_text(str(@inferer.overlap))",
    "initialize": ["$@mark"],
    "run": ["$@note"],
    "finalize": ["$1 / 0"],
}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a toy bundle, and change to another working directory."""
    root = tmp_path / "bundle"
    (root / "configs").mkdir(parents=True)
    (root / "configs" / "inference.json").write_text(json.dumps(CONFIG))
    (root / "configs" / "metadata.json").write_text(json.dumps({"version": "1.2.3"}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return root


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"datset_dir": "x"}, r"unknown setting 'datset_dir'[\s\S]*did you mean 'dataset_dir'"),
        ({"overwrit": True, "device": "cpu"}, "unknown setting 'overwrit'"),
        ({"inferrer#overlap": 0.5}, r"'inferrer#overlap'[\s\S]*did you mean 'inferer'"),
        ({"zzz": 1}, "known are .*dataset_dir.*output_dir"),
    ],
)
def test_unknown_overrides_are_refused_before_anything_runs(
    bundle: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        run_workflow(bundle, "inference", settings)
    assert not (bundle / "out").exists()


@pytest.mark.parametrize("key", ["inferer#overlap", "inferer::overlap"])
def test_nested_overrides_are_taken(bundle: Path, key: str) -> None:
    run_workflow(bundle, "inference", {key: 0.5, "dataset_dir": "note.txt"})
    assert (bundle / "out" / "note.txt").read_text() == "0.5"


def test_overlays_are_merged_in_order_and_their_keys_may_be_overridden(
    bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere" / "plan.yaml").write_text(
        "dataset_dir: plan\nnew: 1\ninferer#overlap: '@new'\n"
    )
    (tmp_path / "method.json").write_text(json.dumps({"dataset_dir": "method"}))
    workflow = run_workflow(
        bundle, "inference", {"new": 5}, ["plan.yaml", tmp_path / "method.json"]
    )
    assert (bundle / "out" / "method").read_text() == "5"
    assert workflow.parser.get_parsed_content("new") == 5


def test_a_path_relative_to_the_working_directory_works(bundle: Path) -> None:
    run_workflow("../bundle", "inference")
    assert (bundle / "out" / "somewhere").exists()


def test_opening_alone_runs_nothing(bundle: Path) -> None:
    workflow = open_workflow(bundle, "inference")
    assert not (bundle / "out").exists()
    workflow.parser.parse()
    assert workflow.parser.get_parsed_content("bundle_root") == str(bundle)
    assert workflow.parser.get("_meta_")["version"] == "1.2.3"


@pytest.mark.parametrize(
    ("where", "config", "overlays", "words"),
    [
        ("nowhere", "inference", [], "nowhere: no configs/inference.json"),
        (".", "inference", [], "no configs/inference.json"),
        ("../bundle", "train", [], "no configs/train.json"),
        ("../bundle", "inference", ["nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_absent_files_are_named(
    bundle: Path, where: str, config: str, overlays: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        open_workflow(where, config, overlays=overlays)
