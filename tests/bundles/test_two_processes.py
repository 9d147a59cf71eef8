"""Every trainer of every bundle under torchrun: two processes end with the same weights, and one of them writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = ROOT / "bundles"


def jobs() -> list[dict[str, str]]:
    """Every pretraining, every ``train.json`` of its own kind, every method."""
    baselines = BUNDLES / "semisupervised_baselines"
    found = [
        {"name": f"method_{file.stem}", "bundle": str(baselines), "stage": "train", "several": "multi_gpu_train.json",
         "method": str(file)} for file in sorted((baselines / "configs" / "methods").glob("*.yaml"))
    ]  # fmt: skip
    for bundle in sorted(path.parent for path in BUNDLES.glob("*/configs")):
        for file in sorted((bundle / "configs").glob("pretrain*.json")):
            found.append({"name": f"{bundle.name}_{file.stem}", "bundle": str(bundle), "stage": file.stem,
                          "several": "multi_gpu_pretrain.json", "method": ""})  # fmt: skip
    found.append({"name": "cotraining", "bundle": str(BUNDLES / "diffusion_cotrainer"), "stage": "train",
                  "several": "multi_gpu_train.json", "method": ""})  # fmt: skip
    return found


@pytest.mark.slow
def test_all_trainers_in_two_processes(tmp_path: Path) -> None:
    rng, pairs = np.random.default_rng(0), []
    for n in range(9):
        label = np.zeros((34, 32, 36), np.uint8)
        label[6:14, 8:20, 5:15], label[14:22, 8:20, 5:15] = 1, 2
        for name, array in (("i", (rng.normal(size=label.shape) + 3 * label).astype(np.float32)), ("l", label)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}{n}.nii")
        pairs.append({"image": f"i{n}.nii", "label": f"l{n}.nii"})
    free = [{"image": pair["image"]} for pair in pairs[4:8]]
    content = {"training": pairs[:4], "unlabeled": free, "validation": pairs[8:], "test": []}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    (tmp_path / "jobs.json").write_text(json.dumps(jobs()))
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
               str(Path(__file__).with_name("two_processes.py")), str(tmp_path / "jobs.json"), str(tmp_path),
               str(tmp_path / "out")]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "out" / "found.json").read_text())
    assert set(found) == {job["name"] for job in jobs()} and len(found) > 12
    assert {name: value for name, value in found.items() if not value <= 1e-6} == {}
    for name in found:
        state = torch.load(tmp_path / "out" / name / "model.pt", weights_only=True)
        assert not [key for key in state if key.startswith(("module.", "_orig_mod."))]
