"""Every command of the docs runs, from a clean folder, with budgets and data made small."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("bundles/docs/*.md")), *sorted(ROOT.glob("bundles/*/docs/README.md"))]
SCANS = 64
# What stands for the reader's own files; the rest of a command stays as it is.
THINGS = {"DATASET": "dataset", "Task04_Hippocampus": "dataset", "SCANS": "sample_data/scans", "MASKS": "masks",
          "SCANS...": "sample_data/scans", "dicom_studies": "sample_data/scans/dicom",
          "YOURS.pt": "yours.pt"}  # fmt: skip
SMALL = {"--labelled 4,10,all": "--labelled 4", "--seeds 0,1,2": "--seeds 0", "--budget 1500": "--budget 2",
         "--budget 750": "--budget 2"}  # fmt: skip


def commands(page: Path) -> list[str]:
    """Lines of the page's shell blocks that start a program of ours, with the block's variables put in."""
    found = []
    for block in re.findall(r"^```(?:sh|bash)\n(.*?)^```", page.read_text(), flags=re.S | re.M):
        variables: dict[str, str] = {}
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for name, value in re.findall(r"(?:^|; ?)([A-Z])=(\S+?)(?=;|$)", line):
                variables[name] = value
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            if re.match(r"(monai-semiseg|python -m|torchrun) ", line):
                found.append(line.split("  #")[0].strip())
    return found


def small(command: str) -> list[str]:
    """The command's words, with two iterations where it trains, and the reader's files in their places."""
    for long, short in SMALL.items():
        command = command.replace(long, short)
    words = [THINGS.get(word, word) for word in shlex.split(command)]
    if "monai.bundle" in words and re.search(r"/(train|pretrain)\w*\.json", command):
        if "--iterations" in words:
            words[words.index("--iterations") + 1] = "2"
        else:
            words += ["--iterations", "2"]
    if words[:2] == ["monai-semiseg", "study"]:
        words += ["--dry_run"] if "--config" in words else ["--device", "cpu"]
    python = {"python": [sys.executable], "monai-semiseg": [sys.executable, "-m", "monai_semiseg"],
              "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone"]}  # fmt: skip
    return [*python[words[0]], *words[1:]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has: the repository's bundles and sample data, a dataset, a datalist, a plan, weights."""
    folder, rng = tmp_path_factory.mktemp("home"), np.random.default_rng(0)
    shutil.copytree(ROOT / "bundles", folder / "bundles")
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    pairs = []
    for n in range(SCANS):
        label = np.zeros((26, 32, 24), np.uint8)
        label[6:12, 8:20, 5:15], label[12:18, 8:20, 5:15] = 1, 2
        pairs.append({"image": f"./imagesTr/c{n}.nii.gz", "label": f"./labelsTr/c{n}.nii.gz"})
        for (_, file), array in zip(
            pairs[-1].items(), ((rng.normal(size=label.shape) + 3 * label).astype(np.float32), label), strict=True
        ):
            (folder / "dataset" / file).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / "dataset" / file)
    about = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
    (folder / "dataset" / "dataset.json").write_text(json.dumps({**about, "training": pairs}))
    torch.save(torch.load(ROOT / "bundles/semisupervised_baselines/models/model.pt"), folder / "yours.pt")
    for command in ("monai-semiseg split DATASET --labelled 20 --output datalist.json",
                    "monai-semiseg plan DATASET --datalist datalist.json --output plan.yaml"):  # fmt: skip
        run(command, folder)
    return folder


def run(command: str, folder: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(small(command), capture_output=True, text=True, cwd=folder, env=environment, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"


def test_the_commands_are_found() -> None:
    found = {page.relative_to(ROOT): len(commands(page)) for page in PAGES}
    assert sum(found.values()) > 30 and all(found[page.relative_to(ROOT)] for page in PAGES if "README" in page.name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_command_runs(page: Path, home: Path) -> None:
    shutil.rmtree(home / "runs", ignore_errors=True)
    shutil.rmtree(home / "masks", ignore_errors=True)
    for command in commands(page):
        run(command, home)
