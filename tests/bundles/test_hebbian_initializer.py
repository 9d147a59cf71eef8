"""The Hebbian initializer through its configs: no labels in, weights of a stock network out, fine-tuning from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.nets import BasicUNet
from monai.utils import set_determinism

from monai_semiseg.errors import ConfigError, root_cause
from monai_semiseg.inference.workflow import run_workflow

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE, BASELINES = ROOT / "hebbian_initializer", ROOT / "semisupervised_baselines"
FEATURES = [4] * 6
NETWORK = {"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "features": FEATURES}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scans and a datalist in which none has a label."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for n in range(4):
        nib.save(nib.Nifti1Image(rng.normal(size=(34, 30, 36)).astype(np.float32), np.eye(4)), root / f"{n}.nii")
    content = {"training": [{"image": "0.nii"}], "unlabeled": [{"image": f"{n}.nii"} for n in range(1, 4)]}
    (root / "datalist.json").write_text(json.dumps(content))
    return root


@pytest.fixture(autouse=True)
def leave_determinism() -> Any:
    yield
    set_determinism(None)


def pretrain(data: Path, folder: Path, **more: Any) -> dict[str, torch.Tensor]:
    settings = {"dataset_dir": str(data), "ckpt_dir": str(folder), "output_dir": str(folder), "num_workers": 0,
                "patch_size": [32, 32, 32], "iterations": 4, "epoch_iterations": 2, "network_def": NETWORK,
                "device": "$torch.device('cpu')", **more}  # fmt: skip
    run_workflow(BUNDLE, "pretrain", settings)
    return torch.load(folder / "model.pt", weights_only=True)  # type: ignore[no-any-return]


def test_scans_without_labels_give_weights_of_a_stock_network(data: Path, tmp_path: Path) -> None:
    weights = pretrain(data, tmp_path)
    network = BasicUNet(3, 1, 3, FEATURES)
    assert all(torch.isfinite(value).all() for value in weights.values())
    network.load_state_dict(weights)
    again = pretrain(data, tmp_path / "again")
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    assert (tmp_path / "filters.png").is_file() and (tmp_path / "tensorboard").is_dir()


@pytest.mark.parametrize(
    "settings",
    [
        {"rule": {"_target_": "monai_semiseg.hebbian.rules.SoftWinnerTakeAll"}, "transposed": "per_tap"},
        {"rule": {"_target_": "monai_semiseg.hebbian.rules.SoftHebb"}},
        {"learns": False},
        {"shuffled": True},
    ],
    ids=["SoftWinnerTakeAll", "SoftHebb", "calibration alone", "shuffled"],
)
def test_rules_and_controls_are_settings(data: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    default, other = pretrain(data, tmp_path / "a"), pretrain(data, tmp_path / "b", **settings)
    assert any(not torch.equal(default[key], other[key]) for key in default)
    assert (tmp_path / "b" / "filters.png").exists() == settings.get("learns", True)
    assert all(torch.isfinite(value).all() for value in other.values())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"exclude": ["final_cnv"]}, "did you mean 'final_conv'"),
        ({"transposed": "swop"}, "swap, per_tap"),
        ({"sections": ["nowhere"]}, "no image"),
    ],
    ids=str,
)
def test_bad_settings_end_before_any_work(data: Path, tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match="") as caught:
        pretrain(data, tmp_path, **settings)
    cause = root_cause(caught.value)
    assert isinstance(cause, ConfigError) and words in str(cause)
    assert not list(tmp_path.iterdir())


def test_training_is_the_baselines_but_for_where_it_starts() -> None:
    for file in ("train", "evaluate", "inference", "multi_gpu_train"):
        ours, theirs = (json.loads((b / "configs" / f"{file}.json").read_text()) for b in (BUNDLE, BASELINES))
        different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
        assert different == ({"init_weights"} if file == "train" else set())


def test_shipped_weights_fill_a_stock_network() -> None:
    network = BasicUNet(3, 1, 3, [16, 16, 32, 64, 128, 16])
    network.load_state_dict(torch.load(BUNDLE / "models" / "initialized" / "model.pt", weights_only=True))
    assert sum(file.stat().st_size for file in (BUNDLE / "models").rglob("*.pt")) <= 6 << 20
