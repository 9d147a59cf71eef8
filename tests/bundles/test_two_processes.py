"""Bundles and trainers under torchrun: equal weights, and one process that writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from .conftest import FEW_FEATURES, SHAPE

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = ROOT / "bundles"
# Of all bundles it alone has a train.json of its own. The baselines' command stands in the docs,
# where test_docs_commands.py runs it; the trainers of all bundles are below.
BUNDLE = BUNDLES / "diffusion_cotrainer"
Raw = Callable[[Path, str], dict[str, Any]]
Settings = Callable[..., dict[str, Any]]


def torchrun(command: list[str], folder: Path, timeout: int) -> str:
    """Run a command in two processes on gloo; return their output."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [*start, *command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def assert_plain_names(state: dict[str, torch.Tensor]) -> None:
    assert not [name for name in state if name.startswith(("module.", "_orig_mod."))]


@pytest.mark.slow
def test_two_processes(data: Path, tmp_path: Path, settings: Settings, raw: Raw) -> None:
    """Run two processes on the CLI: joint batches, one writer, weights without a prefix."""
    files = [str(BUNDLE / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    small = {**FEW_FEATURES, "epoch_iterations": 1, "batch_size": 1}
    overrides = settings(BUNDLE, "train", data, tmp_path / "run", **small)
    for name in ("device", "init_weights"):
        overrides.pop(name)
    command = [
        "-m",
        "monai.bundle",
        "run",
        "--bundle_root",
        str(BUNDLE),
        "--config_file",
        str(files),
    ]
    for key, value in overrides.items():
        command += [f"--{key}", str(value)]
    said = torchrun(command, tmp_path, 300)
    state = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    parser = ConfigParser(raw(BUNDLE, "train"))
    parser["network_def"]["features"] = FEW_FEATURES["network_def#features"]
    parser.get_parsed_content("network_def").load_state_dict(state, strict=True)
    assert_plain_names(state)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["iteration"] == 2
    assert len((tmp_path / "run" / "learning_curve.csv").read_text().splitlines()) == 3
    assert said.count("Training: 100%") >= 1
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 2, (
        "loss and validation of one process"
    )


def jobs() -> list[dict[str, str]]:
    """Return jobs: every pretraining, every ``train.json`` of its own kind, every method."""
    baselines = BUNDLES / "semisupervised_baselines"
    found = [
        {
            "name": f"method_{file.stem}",
            "bundle": str(baselines),
            "stage": "train",
            "several": "multi_gpu_train.json",
            "method": str(file),
        }
        for file in sorted((baselines / "configs" / "methods").glob("*.yaml"))
    ]
    for file in sorted(BUNDLES.glob("*/configs/pretrain*.json")):
        bundle = file.parents[1]
        own = file.with_name(f"multi_gpu_{file.name}")
        found.append(
            {
                "name": f"{bundle.name}_{file.stem}",
                "bundle": str(bundle),
                "stage": file.stem,
                "several": own.name if own.is_file() else "multi_gpu_pretrain.json",
                "method": "",
            }
        )
    found.append(
        {
            "name": "cotraining",
            "bundle": str(BUNDLES / "diffusion_cotrainer"),
            "stage": "train",
            "several": "multi_gpu_train.json",
            "method": "",
        }
    )
    return found


@pytest.mark.slow
def test_all_trainers_in_two_processes(tmp_path: Path, write_dataset: Callable[..., Path]) -> None:
    write_dataset(tmp_path, 9, SHAPE, sizes=(4, 4, 1))
    (tmp_path / "jobs.json").write_text(json.dumps(jobs()))
    (tmp_path / "out").mkdir()
    script = Path(__file__).with_name("two_processes.py")
    torchrun(
        [str(script), str(tmp_path / "jobs.json"), str(tmp_path), str(tmp_path / "out")],
        tmp_path,
        900,
    )
    found = json.loads((tmp_path / "out" / "found.json").read_text())
    assert set(found) == {job["name"] for job in jobs()} and len(found) > 12
    assert {name: value for name, value in found.items() if not value <= 1e-6} == {}
    for name in found:
        assert_plain_names(torch.load(tmp_path / "out" / name / "model.pt", weights_only=True))
