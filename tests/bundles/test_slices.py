"""2-D networks on slices through the same configs: train, pretrain, evaluate, predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import torch
from monai.networks.nets import BasicUNet

from monai_semiseg.bundles.workflow import run_workflow

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BASELINES = ROOT / "semisupervised_baselines"
FEATURES = [4, 4, 6, 6, 8, 5]
Run = Callable[..., None]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_dataset: Callable[..., Path]) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), shape=(34, 30, 12))


@pytest.fixture
def run(settings: Callable[..., dict[str, Any]], data: Path) -> Run:
    """Return a function that runs a config with overlays, a small network and their patch."""
    small = {
        "epoch_iterations": 1,
        "batch_size": 3,
        "init_weights": None,
        "network_def#features": FEATURES,
        "dimension": 8,
    }

    def start(bundle: str, config: str, overlays: list[Path], folder: Path, **more: Any) -> None:
        asked = settings(ROOT / bundle, config, data, folder, **{**small, **more})
        run_workflow(
            ROOT / bundle, config, {k: v for k, v in asked.items() if k != "patch_size"}, overlays
        )

    return start


def overlay(bundle: str, name: str) -> Path:
    return ROOT / bundle / "configs" / f"{name}.yaml"


@pytest.mark.parametrize(
    "method", [None, "cutmix_mean_teacher", "cross_pseudo_supervision", "label_propagation"]
)
def test_train_measure_and_use(method: str | None, data: Path, run: Run, tmp_path: Path) -> None:
    name = "semisupervised_baselines"
    methods = [] if method is None else [BASELINES / "configs" / "methods" / f"{method}.yaml"]
    run(name, "train", [*methods, overlay(name, "slices")], tmp_path)
    BasicUNet(2, 1, 3, FEATURES).load_state_dict(
        torch.load(tmp_path / "model.pt", weights_only=True)
    )
    after = [overlay(name, "slices")]
    weights = {"ckpt_path": str(tmp_path / "model.pt")}
    run(name, "evaluate", after, tmp_path, **weights)
    assert json.loads((tmp_path / "metrics.json").read_text())["cases"] == 1
    run(
        name, "inference", after, tmp_path, dataset_dir=str(data / "images" / "4.nii.gz"), **weights
    )
    assert nib.load(tmp_path / "4_seg.nii.gz").shape == (34, 30, 12)


@pytest.mark.parametrize(
    ("name", "stage", "more"),
    [
        ("hebbian_initializer", "pretrain", {}),
        ("contrastive_pretrainer", "pretrain_global", {"channels": 8}),
        ("contrastive_pretrainer", "pretrain_local", {"channels": 5, "stride": 4}),
    ],
)
def test_pretraining(name: str, stage: str, more: dict[str, Any], run: Run, tmp_path: Path) -> None:
    run(name, stage, [overlay(name, "slices")], tmp_path / "pre", **more)
    state = torch.load(tmp_path / "pre" / "model.pt", weights_only=True)
    BasicUNet(2, 1, 3, FEATURES).load_state_dict(state)
    assert all(torch.isfinite(value).all() for value in state.values())
    start = {"init_weights": str(tmp_path / "pre" / "model.pt")}
    run(name, "train", [overlay(name, "slices")], tmp_path / "fine", **start)
    assert (tmp_path / "fine" / "model.pt").is_file()


def test_the_diffusion_stages(run: Run, tmp_path: Path) -> None:
    name = "diffusion_cotrainer"
    small = {"teacher_features": FEATURES, "rounds_every": 1}
    run(name, "pretrain", [overlay(name, "slices")], tmp_path / "pre", **small)
    teacher = {"teacher_weights": str(tmp_path / "pre" / "model.pt")}
    run(name, "train", [overlay(name, "slices")], tmp_path / "co", **small, **teacher)
    BasicUNet(2, 1, 3, FEATURES).load_state_dict(
        torch.load(tmp_path / "co" / "model.pt", weights_only=True)
    )
    learnt = torch.load(tmp_path / "co" / "teacher.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in learnt.values())


def test_overlays_are_the_same_in_every_bundle() -> None:
    texts = {file.read_text() for file in ROOT.glob("*/configs/slices.yaml")}
    assert len(texts) == 1
