"""Two dimensions through the same configs: a 2-D network on slices, trained, pretrained, measured, and used."""

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

from monai_semiseg.engines.slices import SliceBatchInferer
from monai_semiseg.inference.workflow import run_workflow

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BASELINES = ROOT / "semisupervised_baselines"
FEATURES = [4, 4, 6, 6, 8, 5]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng, pairs = tmp_path_factory.mktemp("data"), np.random.default_rng(0), []
    for n in range(5):
        label = np.zeros((34, 30, 12), np.uint8)
        label[6:16, 8:20, 2:9], label[16:24, 8:20, 2:8] = 1, 2
        for name, array in (("i", (rng.normal(size=label.shape) + 3 * label).astype(np.float32)), ("l", label)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), root / f"{name}{n}.nii")
        pairs.append({"image": f"i{n}.nii", "label": f"l{n}.nii"})
    free = [{"image": "i2.nii"}]
    (root / "datalist.json").write_text(
        json.dumps({"training": pairs[:2], "unlabeled": free, "validation": pairs[3:4], "test": pairs[4:]})
    )
    return root


@pytest.fixture(autouse=True)
def leave_determinism() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    set_determinism(None)


def run(bundle: str, config: str, overlays: list[Path], data: Path, folder: Path, **more: Any) -> Path:
    known = json.loads((ROOT / bundle / "configs" / f"{config}.json").read_text())
    small = {"dataset_dir": str(data), "ckpt_dir": str(folder), "output_dir": str(folder), "num_workers": 0,
             "device": "$torch.device('cpu')", "iterations": 2, "epoch_iterations": 1, "batch_size": 3,
             "init_weights": None, "network_def#features": FEATURES, "dimension": 8, **more}  # fmt: skip
    settings = {key: value for key, value in small.items() if key.split("#")[0] in known}
    run_workflow(ROOT / bundle, config, settings, overlays)
    return folder


def overlay(bundle: str, name: str) -> Path:
    return ROOT / bundle / "configs" / f"{name}.yaml"


def test_slices_go_in_and_come_out_in_order() -> None:
    torch.manual_seed(0)
    network, images = torch.nn.Conv2d(2, 3, 3, padding=1), torch.randn(2, 2, 8, 7, 5)
    found = SliceBatchInferer()(images, network)
    for k in range(5):
        torch.testing.assert_close(found[..., k], network(images[..., k]))
    pooled = SliceBatchInferer()(images, lambda x: x.mean((2, 3)))
    torch.testing.assert_close(pooled.reshape(2, 5, 2)[1, 3], images[1, :, :, :, 3].mean((1, 2)))


@pytest.mark.parametrize("method", [None, "cutmix_mean_teacher", "cross_pseudo_supervision"])
def test_train_measure_and_use(method: str | None, data: Path, tmp_path: Path) -> None:
    name = "semisupervised_baselines"
    methods = [] if method is None else [BASELINES / "configs" / "methods" / f"{method}.yaml"]
    run(name, "train", [*methods, overlay(name, "slices")], data, tmp_path)
    BasicUNet(2, 1, 3, FEATURES).load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    after = [overlay(name, "slices_inference")]
    weights = {"ckpt_path": str(tmp_path / "model.pt")}
    run(name, "evaluate", after, data, tmp_path, **weights)
    assert json.loads((tmp_path / "metrics.json").read_text())["cases"] == 1
    run(name, "inference", after, data, tmp_path, dataset_dir=str(data / "i4.nii"), **weights)
    assert nib.load(tmp_path / "i4_seg.nii.gz").shape == (34, 30, 12)


@pytest.mark.parametrize(
    ("bundle", "stage", "more"),
    [
        ("hebbian_initializer", "pretrain", {}),
        ("contrastive_pretrainer", "pretrain_global", {"channels": 8}),
        ("contrastive_pretrainer", "pretrain_local", {"channels": 5, "stride": 4}),
    ],
)
def test_pretraining(bundle: str, stage: str, more: dict[str, Any], data: Path, tmp_path: Path) -> None:
    run(bundle, stage, [overlay(bundle, "slices_pretrain")], data, tmp_path / "pre", **more)
    state = torch.load(tmp_path / "pre" / "model.pt", weights_only=True)
    BasicUNet(2, 1, 3, FEATURES).load_state_dict(state)
    assert all(torch.isfinite(value).all() for value in state.values())
    start = {"init_weights": str(tmp_path / "pre" / "model.pt")}
    run(bundle, "train", [overlay(bundle, "slices")], data, tmp_path / "fine", **start)
    assert (tmp_path / "fine" / "model.pt").is_file()


def test_overlays_are_the_same_in_every_bundle() -> None:
    for name in ("slices", "slices_inference", "slices_pretrain"):
        texts = {file.read_text() for file in ROOT.glob(f"*/configs/{name}.yaml")}
        assert len(texts) == 1
