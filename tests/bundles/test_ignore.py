"""Partial labels end to end: split, plan, train, predict and evaluate with ``ignore``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.cli.main import main

from .conftest import PATCH

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE = ROOT / "semisupervised_baselines"
LABELS = {"0": "background", "1": "gland", "255": "ignore"}
Settings = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def partial(write_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write scans whose second structure and last slices are to be ignored; one case has no more.

    Split and plan lie beside it.
    """
    folder = tmp_path_factory.mktemp("partial")
    data = write_dataset(folder / "data", scans=6, shape=(32, 32, 32))
    (data / "datalist.json").unlink()
    entries = []
    for n, path in enumerate(sorted((data / "labels").iterdir())):
        label = np.asarray(nib.load(path).dataobj).copy()
        label[label == 2] = 255
        label[:, :, 20:] = 255
        label[:] = 255 if n == 5 else label
        nib.save(nib.Nifti1Image(label, np.eye(4)), path)
        entries.append({"image": f"images/{path.name}", "label": f"labels/{path.name}"})
    content = {"labels": LABELS, "training": entries, "modality": {"0": "MRI"}}
    (data / "dataset.json").write_text(json.dumps(content))
    ask = ["--labelled", "3", "--test", "1", "--validation", "0.4"]
    ask += ["--output", str(folder / "datalist.json")]
    assert main(["split", str(data), *ask]) == 0
    assert main(["plan", str(data), "--output", str(folder / "plan.yaml")]) == 0
    return data


def asked_of(
    settings: Settings, bundle: Path, config: str, data: Path, run: Path, **more: Any
) -> dict[str, Any]:
    datalist = str(data.parent / "datalist.json")
    small = {"network_def#features": [4] * 6, "teacher_features": [4] * 6, "channels": 4}
    return settings(bundle, config, data, run, datalist=datalist, **{**small, **more})


def test_train_and_evaluate(
    partial: Path, tmp_path: Path, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    """Compare the scores with those of the predicted masks, outside of ignored voxels."""
    plan = partial.parent / "plan.yaml"
    assert yaml.safe_load(plan.read_text())["label_names"] == {"0": "background", "1": "gland"}
    listed = partial.parent / "datalist.json"
    datalist = json.loads(listed.read_text())
    assert {"image": "images/5.nii.gz"} in datalist["unlabeled"] and datalist["validation"]
    run_workflow(
        BUNDLE, "train", asked_of(settings, BUNDLE, "train", partial, tmp_path / "run"), [plan]
    )
    common = ["--bundle", str(BUNDLE), "--weights", str(tmp_path / "run" / "model.pt")]
    common += ["--plan", str(plan), "--device", "cpu", "--set", f"patch_size={PATCH}"]
    common += ["--set", "network_def#features=[4,4,4,4,4,4]"]
    argv = ["evaluate", str(partial), "--datalist", str(listed)]
    assert main([*argv, "--output", str(tmp_path / "eval"), *common]) == 0
    rows = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    name = Path(datalist["test"][0]["image"]).name
    assert [row["case"] for row in rows] == [name.split(".")[0]] and rows[0]["class"] == "1"

    scan = str(partial / "images" / name)
    assert main(["predict", scan, "--output", str(tmp_path / "out"), *common]) in (0, 5)
    mask = np.asarray(nib.load(next((tmp_path / "out").rglob("*_seg.nii.gz"))).dataobj)
    label = np.asarray(nib.load(partial / "labels" / name).dataobj)
    known = label != 255
    overlap = ((mask == 1) & (label == 1)).sum()
    dice = 2 * overlap / (((mask == 1) & known).sum() + (label == 1).sum())
    assert float(rows[0]["dice"]) == pytest.approx(dice, abs=1e-5) and (mask[~known] == 1).any()
    assert float(rows[0]["pred_ml"]) == pytest.approx(((mask == 1) & known).sum() / 1000, abs=1e-5)
    assert float(rows[0]["ignored_share"]) == pytest.approx(1 - known.mean(), abs=1e-5)
    assert "left out: voxels to ignore" in capfd.readouterr().out


RUNS: dict[str, tuple[str, str, list[Path]]] = {
    "dual task": (BUNDLE.name, "train", [BUNDLE / "configs/methods/dual_task_consistency.yaml"]),
    "copy-paste": (
        BUNDLE.name,
        "train",
        [BUNDLE / "configs/methods/bidirectional_copy_paste.yaml"],
    ),
    "propagation": (BUNDLE.name, "train", [BUNDLE / "configs/methods/label_propagation.yaml"]),
    "diffusion": ("diffusion_cotrainer", "train", []),
    "local contrast": ("contrastive_pretrainer", "pretrain_local", []),
}


@pytest.mark.parametrize("name", RUNS)
def test_methods_that_use_labels_in_other_ways_run(
    name: str, partial: Path, tmp_path: Path, settings: Settings
) -> None:
    """Check methods whose labels enter more than the supervised loss: weights stay finite."""
    bundle, config, overlays = RUNS[name]
    folder = ROOT / bundle
    run = tmp_path / "run"
    asked = asked_of(settings, folder, config, partial, run)
    run_workflow(folder, config, asked, [*overlays, partial.parent / "plan.yaml"])
    state = torch.load(next(run.glob("*.pt")), weights_only=True)
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    assert tensors and all(bool(value.isfinite().all()) for value in tensors)
