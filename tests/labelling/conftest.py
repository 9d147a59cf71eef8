"""Scans, a split and tasks for the tests of collect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.labelling.task_builders import (
    LABELS,
    make_tasks,
    write_scans,
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return scans, a split of them, and tasks for 3D Slicer; no test writes here."""
    folder = tmp_path_factory.mktemp("collect")
    dataset = write_scans(folder / "data", 10)
    entries = [{"image": f"images/{name}.nii.gz"} for name in "abcdefghij"]
    label = np.zeros((6, 5, 8), np.uint8)
    label[1:4, 1:3, 2:5] = 1
    (dataset / "labels").mkdir()
    nib.save(
        nib.Nifti1Image(label, nib.load(dataset / "images/e.nii.gz").affine),
        dataset / "labels" / "e.nii.gz",
    )
    content = {
        "labels": {str(value): name for value, name in LABELS.items()},
        "training": [{**entries[4], "label": "labels/e.nii.gz"}],
        "unlabeled": [*entries[:3], *entries[5:]],
        "validation": [],
        "test": [entries[3]],
    }
    (folder / "split.json").write_text(json.dumps(content))
    make_tasks(dataset, folder / "tasks")
    return folder


@pytest.fixture
def place(pristine: Path, tmp_path: Path) -> Path:
    """Return a copy of it, whose tasks are of the copied dataset."""
    shutil.copytree(pristine, tmp_path / "work")
    manifest = tmp_path / "work" / "tasks" / "tasks.json"
    content = json.loads(manifest.read_text())
    content["dataset"] = str(tmp_path / "work" / "data")
    manifest.write_text(json.dumps(content))
    return tmp_path / "work"
