"""Decisions that the page of a review writes on proposals, and what collect makes of them."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from monai_semiseg.cli.main import main
from monai_semiseg.labelling.review_cases import open_review
from monai_semiseg.labelling.tasks import TaskFolder
from tests.labelling.task_builders import AFFINE, SHAPE, Levels, make_tasks
from tests.runner_builders import values

# The page calls the proposal of "a" "a/a", which is the id of another case.
DECISIONS = {"a": "rejected", "a/a": "accepted", "one/x/b": "needs_correction", "one/y/b": ""}


def write_images(folder: Path, ending: str) -> Path:
    """Write an image for each of the cases, in folders of several levels."""
    for number, name in enumerate(DECISIONS):
        path = folder / "images" / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = values(SHAPE, number).astype(np.float32)
        if ending == ".png":
            pixels = (values((9, 7), number) > 0.5).astype(np.uint8) * 200 + 20
            Image.fromarray(pixels).save(path)
        elif ending == ".mhd":
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
        elif ending == ".hdr":
            nib.save(nib.Nifti1Pair(array, AFFINE), path)
        else:
            nib.save(nib.Nifti1Image(array, AFFINE), path)
    return folder


def decide(tasks: TaskFolder) -> None:
    """Decide on the proposals as the page does."""
    ids = {task.proposal: task.id for task in tasks.tasks}
    with open_review(tasks.folder / "proposals") as review:
        for number, case in enumerate(review.cases):
            if verdict := DECISIONS[ids[f"proposals/{case.result.output}"]]:
                review.decide(number, verdict, "", review.images.get(number).mask_sha256)


def statuses(folder: Path) -> dict[str, str]:
    """Return id -> what became of the task."""
    with (folder / "collected.csv").open(encoding="utf-8") as stream:
        return {row["id"]: row["status"] for row in csv.DictReader(stream)}


@pytest.mark.parametrize("ending", [".nii.gz", ".png", ".mhd", ".hdr"])
def test_decisions_of_the_page_reach_their_tasks(ending: str, tmp_path: Path) -> None:
    dataset = write_images(tmp_path / "data", ending)
    kind = "png" if ending == ".png" else "seg.nrrd"
    tasks = make_tasks(dataset, tmp_path / "made", kind, Levels() if ending == ".png" else None)
    assert sorted(task.id for task in tasks.tasks) == sorted(DECISIONS)
    moved = tmp_path / "tasks"
    tasks.folder.rename(moved)  # as when it is sent to somebody
    decide(TaskFolder(moved, dataset, tasks.layout, tasks.labels, tasks.ignore, tasks.tasks))
    into = ["collect", str(moved), "--into", str(dataset)]
    assert main(into) == 0
    expected = {"a": "rejected", "a/a": "accepted", "one/x/b": "unchanged", "one/y/b": "unchanged"}
    assert statuses(moved) == expected
    assert main([*into, "--accept_unchanged"]) == 0
    assert statuses(moved) == {**expected, "one/y/b": "accepted"}
