"""Runs of every bundle: train, evaluate, predict, load elsewhere, stop and resume."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from monai_semiseg.bundles.workflow import open_workflow, run_workflow
from monai_semiseg.errors import CheckpointError, root_cause

from .conftest import FEW_FEATURES

Raw = Callable[[Path, str], dict[str, Any]]
Settings = Callable[..., dict[str, Any]]
Trained = Callable[[Path], Path]


def test_train_evaluate_predict(
    bundle: Path, data: Path, trained: Trained, tmp_path: Path, settings: Settings
) -> None:
    before = sorted(bundle.rglob("*"))
    folder = trained(bundle)
    for name in ("model.pt", "checkpoint.pt", "learning_curve.csv", "learning_curve.png"):
        assert (folder / name).stat().st_size > 0
    rows = list(csv.DictReader((folder / "learning_curve.csv").open()))
    assert [row["iteration"] for row in rows] == ["2"]
    assert 0 <= float(rows[0]["validation"]) <= 1
    weights = {"ckpt_path": str(folder / "model.pt")}

    run_workflow(
        bundle, "evaluate", settings(bundle, "evaluate", data, tmp_path / "eval", **weights)
    )
    scores = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    assert [(row["case"], row["class"]) for row in scores] == [
        ("4", "1"),
        ("4", "2"),
        ("5", "1"),
        ("5", "2"),
    ]
    assert float(scores[0]["label_ml"]) == pytest.approx(6 * 12 * 10 / 1000)
    assert float(scores[2]["label_ml"]) == pytest.approx(6 * 12 * 10 * 1.2 / 1000, rel=1e-4)
    assert (tmp_path / "eval" / "worst_cases.png").stat().st_size > 1000

    scans = tmp_path / "scans"
    scans.mkdir()
    for n in (4, 5):
        shutil.copy(data / "images" / f"{n}.nii.gz", scans / f"{n}.nii.gz")
    (scans / "bad.nii.gz").write_text("no scan")
    workflow = run_workflow(
        bundle, "inference", settings(bundle, "inference", scans, tmp_path / "masks", **weights)
    )
    for n in (4, 5):
        scan = nib.load(scans / f"{n}.nii.gz")
        mask = nib.load(tmp_path / "masks" / f"{n}_seg.nii.gz")
        assert mask.shape == scan.shape
        assert np.abs(mask.affine - scan.affine).max() < 1e-5
        # The same network on the same scan: the volumes of both workflows agree.
        counted = [
            int((np.asanyarray(mask.dataobj) == c).sum()) * abs(np.linalg.det(scan.affine)) / 1000
            for c in (1, 2)
        ]
        assert [float(row["pred_ml"]) for row in scores if row["case"] == str(n)] == pytest.approx(
            counted, abs=2e-5
        )
    with pytest.raises(SystemExit) as left:
        workflow.finalize()
    assert left.value.code == 3
    assert sorted(bundle.rglob("*")) == before, "nothing is written into the bundle"


def test_weights_are_a_plain_state_dict_of_the_stock_network(
    bundle: Path, trained: Trained, raw: Raw
) -> None:
    state = torch.load(trained(bundle) / "model.pt", weights_only=True)
    assert raw(bundle, "train")["network_def"]["_target_"] in dir(monai.networks.nets)
    network = ConfigParser(raw(bundle, "train")).get_parsed_content("network_def")
    network.load_state_dict(state, strict=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())


@pytest.mark.parametrize("kind", ["train", "inference"])
def test_monai_bundle_load(bundle: Path, trained: Trained, tmp_path: Path, kind: str) -> None:
    shutil.copytree(bundle / "configs", tmp_path / bundle.name / "configs")
    (tmp_path / bundle.name / "models").mkdir()
    shutil.copy(trained(bundle) / "model.pt", tmp_path / bundle.name / "models" / "model.pt")
    network = monai.bundle.load(
        bundle.name, bundle_dir=str(tmp_path), workflow_type=kind, device="cpu"
    )
    state = torch.load(trained(bundle) / "model.pt", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_a_stopped_training_goes_on_as_if_it_never_stopped(
    bundle: Path, data: Path, tmp_path: Path, settings: Settings
) -> None:
    """Check that everything with a state is in the config's checkpoint."""
    budget = {"iterations": 3, "epoch_iterations": 1, **FEW_FEATURES}
    run_workflow(bundle, "train", settings(bundle, "train", data, tmp_path / "whole", **budget))

    class Stopped(Exception):
        pass

    def stop(engine: Engine) -> None:
        if engine.state.iteration == 2:
            raise Stopped

    workflow = open_workflow(
        bundle, "train", settings(bundle, "train", data, tmp_path / "twice", **budget)
    )
    workflow.initialize()
    workflow.trainer.add_event_handler(Events.ITERATION_STARTED, stop)
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    assert isinstance(caught.value.__cause__, Stopped)
    run_workflow(
        bundle, "train", settings(bundle, "train", data, tmp_path / "twice", resume=True, **budget)
    )
    curves = [(tmp_path / name / "learning_curve.csv").read_text() for name in ("whole", "twice")]
    assert curves[0] == curves[1]
    assert len(curves[0].splitlines()) == 4
    states = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("whole", "twice")
    ]
    assert all(
        torch.equal(value, states[1]["network"][name])
        for name, value in states[0]["network"].items()
    )
    assert states[0]["lr_scheduler"] == states[1]["lr_scheduler"]


def test_every_stage_in_bfloat16(
    bundle: Path, data: Path, tmp_path: Path, settings: Settings, raw: Raw
) -> None:
    """Check on a CPU that losses and weights are finite, and saved as float32."""
    configs = bundle / "configs"
    stages = [
        file.stem for file in (configs / "train.json", *sorted(configs.glob("pretrain*.json")))
    ]
    stages = [name for name in stages if "autocast_dtype" in raw(bundle, name)]
    small = {**FEW_FEATURES, "channels": 4, "autocast_dtype": "bfloat16_emulated"}
    assert "train" in stages
    for stage in stages:
        folder = tmp_path / stage
        run_workflow(bundle, stage, settings(bundle, stage, data, folder, **small))
        weights = torch.load(folder / "model.pt", weights_only=True)
        assert all(
            value.isfinite().all() and value.dtype is not torch.bfloat16
            for value in weights.values()
        ), stage
        assert "nan" not in (folder / "learning_curve.csv").read_text(), stage


def test_initial_weights(
    bundle: Path, data: Path, trained: Trained, tmp_path: Path, settings: Settings
) -> None:
    def train(init_weights: Path, **more: Any) -> None:
        asked = settings(
            bundle, "train", data, tmp_path / "run", init_weights=str(init_weights), **more
        )
        run_workflow(bundle, "train", asked)

    torch.save({"nothing.fits": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(RuntimeError) as caught:
        train(tmp_path / "other.pt")
    assert isinstance(root_cause(caught.value), CheckpointError)
    train(trained(bundle) / "model.pt", learning_rate=1e-12)
    start, end = (
        torch.load(folder / "model.pt", weights_only=True)
        for folder in (trained(bundle), tmp_path / "run")
    )
    assert all(torch.allclose(value, end[name], atol=1e-6) for name, value in start.items())
