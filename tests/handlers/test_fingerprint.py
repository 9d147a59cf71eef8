"""A checkpoint belongs to one training: what differs is named, and refused unless told otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from monai_semiseg.bundles.keys import merge_configs
from monai_semiseg.bundles.record import differences
from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.errors import CheckpointError, ConfigError, root_cause
from monai_semiseg.handlers.fingerprint import TrainingFingerprint, training_fingerprint

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BASELINES = BUNDLES / "semisupervised_baselines"
METHOD = BASELINES / "configs" / "methods" / "mean_teacher.yaml"
STAGES = [
    file
    for file in sorted(BUNDLES.glob("*/configs/*train*.json"))
    if not file.stem.startswith("multi_gpu")
]
FINGERPRINT = "train#checkpoint#fingerprint"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_dataset: Callable[..., Path]) -> Path:
    folder = write_dataset(tmp_path_factory.mktemp("data"), sizes=(2, 1, 0))
    content = json.loads((folder / "datalist.json").read_text())
    changes: dict[str, dict[str, Any]] = {
        "other_training": {"training": content["training"][::-1]},
        "other_test": {"test": []},
    }
    for name, change in changes.items():
        (folder / f"{name}.json").write_text(json.dumps({**content, **change}))
    return folder


@pytest.fixture
def settings(data: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "dataset_dir": str(data),
        "ckpt_dir": str(tmp_path / "run"),
        "output_dir": str(tmp_path / "run"),
        "patch_size": [32, 32, 32],
        "device": "$torch.device('cpu')",
        "network_def#features": [4] * 6,
        "num_workers": 0,
        "iterations": 2,
        "epoch_iterations": 1,
    }


def of(stage: Path, overlays: list[Path], settings: dict[str, Any]) -> TrainingFingerprint:
    """The fingerprint of a training that is not begun."""
    merged = merge_configs([stage, *overlays], {"bundle_root": str(stage.parents[1]), **settings})
    found = ConfigParser(merged).get_parsed_content(FINGERPRINT)
    assert isinstance(found, TrainingFingerprint)
    return found


def test_another_experiment_is_not_resumed(
    data: Path, settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_workflow(BASELINES, "train", settings)

    def resume(overlays: list[Path], **more: Any) -> None:
        run_workflow(BASELINES, "train", {**settings, "resume": True, **more}, overlays)

    refused: list[tuple[list[Path], dict[str, Any], str]] = [
        (
            [],
            {"datalist": str(data / "other_training.json"), "learning_rate": 0.01},
            r"datalist training was 2 scans \(\w+\), now 2 scans \(\w+\); "
            "learning_rate was 0.002, now 0.01\n",
        ),
        ([METHOD], {}, "method was .*SemiS.*, now .*MeanTeacherTrainer"),
        ([], {"iterations": 4}, "iterations was 2, now 4"),
        ([], {"loss#batch": False}, "loss#batch was true, now false"),
        ([], {"spacing": [1, 1, 2]}, r"spacing was \[1.0, 1.0, 1.0\], now \[1, 1, 2\]"),
    ]
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    for overlays, more, words in refused:
        with pytest.raises(RuntimeError) as caught:
            resume(overlays, **more)
        cause = root_cause(caught.value)
        assert isinstance(cause, CheckpointError) and cause.exit_code == 2
        assert "--resume_anyway" in cause.remedy and len(str(cause).splitlines()) <= 4
        with pytest.raises(CheckpointError, match=words):
            raise cause
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    resume([], learning_rate=0.01, resume_anyway=True)
    resume([], datalist=str(data / "other_test.json"), num_workers=1, val_interval=2)

    content = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    content.pop("fingerprint")
    torch.save(content, tmp_path / "run" / "checkpoint.pt")
    resume([], learning_rate=0.01)
    assert "has no fingerprint" in caplog.text


@pytest.mark.parametrize("stage", STAGES, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_what_may_differ(stage: Path, data: Path, tmp_path: Path) -> None:
    """Every training of the bundles: devices, folders and processes do not make it another one."""
    base = of(stage, [], {"dataset_dir": str(data)})
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "datalist.json").write_text((data / "datalist.json").read_text())
    freely = {
        "dataset_dir": str(moved),
        "ckpt_dir": "elsewhere",
        "output_dir": "elsewhere",
        "device": "$torch.device('cuda:3')",
        "num_workers": 7,
        "resume": True,
        "init_weights": "start.pt",
    }
    known = json.loads(stage.read_text())
    several = stage.with_name(
        "multi_gpu_train.json" if stage.stem == "train" else "multi_gpu_pretrain.json"
    )
    other = of(stage, [several], {key: value for key, value in freely.items() if key in known})
    assert differences(base.facts(), other.facts()) == ""
    assert base.data.keys() == {"training", "unlabeled", "validation"}
    assert {"spacing", "intensity", "label_names", "mirror_axes"} <= base.settings.keys()
    changed = of(stage, [], {"dataset_dir": str(data), "iterations": 7, "seed": 3})
    assert differences(base.facts(), changed.facts()) == (
        f"seed was 0, now 3; iterations was {base.settings['iterations']}, now 7"
    )


def test_tracking_may_be_switched_on(data: Path) -> None:
    """As MONAI adds it to a config."""
    from monai.bundle import DEFAULT_MLFLOW_SETTINGS, ConfigWorkflow

    stage = STAGES[-1]
    base = of(stage, [], {"dataset_dir": str(data)})
    parser = ConfigParser(
        merge_configs([stage], {"bundle_root": str(BASELINES), "dataset_dir": str(data)})
    )
    parser["save_execute_config"] = False
    ConfigWorkflow.patch_bundle_tracking(parser, DEFAULT_MLFLOW_SETTINGS)
    parser["run_name"] = "a name"
    tracked = parser.get_parsed_content(FINGERPRINT)
    assert differences(base.facts(), tracked.facts()) == ""


def test_outside_a_config_there_is_nothing_to_take_it_of() -> None:
    with pytest.raises(ConfigError, match="no config is being evaluated"):
        training_fingerprint("datalist.json")


def test_differences() -> None:
    was = {"a": 1, "net::a": 1, "net::b": 2, "z": "x" * 100, "gone": None, "same": [1]}
    now = {"a": 2, "net::a": 2, "net::b": 3, "z": "y" * 100, "same": [1.0]}
    assert differences(was, now) == (
        f"a was 1, now 2; z was {'x' * 40}...{'x' * 15}, now {'y' * 40}...{'y' * 15}; "
        "gone was null, now absent; net#b was 2, now 3"
    )
    assert differences(was, now, limit=1) == "a was 1, now 2; and 3 more"
    assert differences(was, was) == ""
