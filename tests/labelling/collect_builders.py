"""Folders of tasks that labellers give back, and what collect makes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from monai_semiseg.cli.main import main
from monai_semiseg.labelling.tasks import TaskFolder, load_tasks
from monai_semiseg.storage.files import sha256_of
from tests.labelling.task_builders import (
    proposal_of,
    save_nrrd,
    task_of,
)

NAMED = [("left", 1, 0), ("right", 2, 0), ("ignore", 255, 0)]


def collect(place: Path, *more: str) -> int:
    return main(["collect", str(place / "tasks"), "--into", str(place / "split.json"), *more])


def corrected(tasks: TaskFolder, case: str) -> np.ndarray:
    """Return a proposal with a block of the second label in it."""
    mask = proposal_of(tasks, case).astype(np.uint8)
    mask[1:4, 1:4, 2:6] = 2
    return mask


def give_back(place: Path, case: str, mask: np.ndarray, name: str = "") -> Path:
    """Save a mask as 3D Slicer does, over the proposal or under another name."""
    tasks = load_tasks(place / "tasks")
    path = tasks.folder / (name or task_of(tasks, case).mask)
    return save_nrrd(path, place / "data" / "images" / f"{case}.nii.gz", [mask], NAMED)


def collected(place: Path, name: str = "tasks/datalist.json") -> dict[str, np.ndarray]:
    """Return case -> voxels of the labels of a datalist, by nibabel alone."""
    entries = json.loads((place / name).read_text())["training"]
    return {
        Path(entry["image"]).name[0]: np.asarray(nib.load(place / "data" / entry["label"]).dataobj)
        for entry in entries
    }


def with_keys(part: sitk.Image, image: sitk.Image) -> sitk.Image:
    """Give a part of an image the header's keys, which SimpleITK leaves out."""
    for key in image.GetMetaDataKeys():
        part.SetMetaData(key, image.GetMetaData(key))
    return part


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Return file -> hash and time of change."""
    return {
        str(path.relative_to(folder)): (sha256_of(path), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def copy_of(place: Path, name: str) -> Path:
    """Return a copy of dataset and tasks."""
    copy = place.parent / name
    shutil.copytree(place, copy)
    manifest = copy / "tasks" / "tasks.json"
    manifest.write_text(manifest.read_text().replace(str(place), str(copy)))
    return copy


def write_words(place: Path, case: str, **words: str) -> None:
    """Fill in ``tasks.csv`` as a spreadsheet saves it, with semicolons."""
    rows = [["id", "slices", "minutes"]]
    rows.append([case, words.get("slices", ""), words.get("minutes", "")])
    text = "\r\n".join(";".join(f'"{cell}"' for cell in row) for row in rows)
    (place / "tasks" / "tasks.csv").write_text("\ufeff" + text, encoding="utf-8")
