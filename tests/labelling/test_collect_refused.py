"""Masks that are refused by name, and what is never overwritten."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_semiseg.cli.main import main
from monai_semiseg.labelling.tasks import TaskFolder, load_tasks
from tests.labelling.collect_builders import (
    collect,
    collected,
    corrected,
    give_back,
    tree,
    with_keys,
    write_words,
)
from tests.labelling.task_builders import (
    save_nrrd,
    task_of,
)


def wrong_size(place: Path, tasks: TaskFolder) -> None:
    path = tasks.folder / task_of(tasks, "a").mask
    image = sitk.ReadImage(str(give_back(place, "a", corrected(tasks, "a"))))
    sitk.WriteImage(with_keys(image[:, :, :7], image), str(path))


def other_grid(place: Path, tasks: TaskFolder) -> None:
    path = give_back(place, "a", corrected(tasks, "a"))
    image = sitk.ReadImage(str(path))
    image.SetOrigin([value + 0.7 for value in image.GetOrigin()])
    sitk.WriteImage(image, str(path))


def half_written(place: Path, tasks: TaskFolder) -> None:
    path = give_back(place, "a", corrected(tasks, "a"))
    path.write_bytes(path.read_bytes()[:-20])


def unknown_name(place: Path, tasks: TaskFolder) -> None:
    mask = corrected(tasks, "a")
    path = tasks.folder / task_of(tasks, "a").mask
    save_nrrd(path, place / "data/images/a.nii.gz", [mask], [("left", 1, 0), ("tumour", 2, 0)])


def unknown_number(place: Path, tasks: TaskFolder) -> None:
    affine = nib.load(place / "data" / "images" / "a.nii.gz").affine
    mask = corrected(tasks, "a") * 3
    nib.save(nib.Nifti1Image(mask, affine), tasks.folder / "a" / "a_seg.nii.gz")


def stale(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "a", corrected(tasks, "a"))
    path = place / "data" / "images" / "a.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), path)


def no_image(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "a", corrected(tasks, "a"))
    (place / "data" / "images" / "a.nii.gz").unlink()


def foreign(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "a", corrected(tasks, "a"), "z.seg.nrrd")


def not_in_the_datalist(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "a", corrected(tasks, "a"))
    content = json.loads((place / "split.json").read_text())
    content["unlabeled"] = content["unlabeled"][1:]
    (place / "split.json").write_text(json.dumps(content))


def of_a_test_scan(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "d", corrected(tasks, "d"))


def of_a_labelled_scan(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "e", corrected(tasks, "e"))


def two_that_differ(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "a", corrected(tasks, "a"))
    give_back(place, "a", corrected(tasks, "a") % 2, "a/a_1.seg.nrrd")


def overlapping(place: Path, tasks: TaskFolder) -> None:
    mask = corrected(tasks, "a")
    path = tasks.folder / task_of(tasks, "a").mask
    layers = [mask, (mask > 0).astype(np.uint8)]
    segments = [("left", 1, 0), ("right", 2, 0), ("ignore", 1, 1)]
    save_nrrd(path, place / "data/images/a.nii.gz", layers, segments)


def slices_of_a_date(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "a", corrected(tasks, "a"))
    write_words(place, "a", slices="20. Jan")


def slices_beyond(place: Path, tasks: TaskFolder) -> None:
    give_back(place, "a", corrected(tasks, "a"))
    write_words(place, "a", slices="3 to 9")


BAD = {
    wrong_size: ("a", "E_GEOMETRY.*a.seg.nrrd.*6x5x7 voxels"),
    other_grid: ("a", "E_GEOMETRY.*a.seg.nrrd.*off the image"),
    half_written: ("a", "E_(TRUNCATED|CHECKSUM|FORMAT).*a.seg.nrrd"),
    unknown_name: ("a", "E_LABEL.*a.seg.nrrd.*undeclared segments tumour"),
    unknown_number: ("a", "E_LABEL.*a_seg.nii.gz.*6 "),
    stale: ("a", "a.nii.gz: the image has changed since"),
    no_image: ("a", "a.nii.gz: the image does not exist"),
    foreign: ("z", "of no case that was handed out"),
    not_in_the_datalist: ("a", "no case of this datalist"),
    of_a_test_scan: ("d", "kept for test"),
    of_a_labelled_scan: ("e", "has the label labels/e.nii.gz already"),
    two_that_differ: ("a", "several masks of a that differ"),
    overlapping: ("a", "E_LABEL.*belong to"),
    slices_of_a_date: ("a", "tasks.csv: slices '20. Jan'"),
    slices_beyond: ("a", "slices from 1 to 8"),
}


@pytest.mark.parametrize("row", BAD, ids=lambda row: row.__name__)
def test_bad_input_fails_alone(
    row: Callable[..., None], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name it and collect the good one beside it; nothing is written for it."""
    case, message = BAD[row]
    tasks = load_tasks(place / "tasks")
    row(place, tasks)
    give_back(place, "b", corrected(tasks, "b"))
    assert collect(place) == 3
    err = capsys.readouterr().err
    (line,) = (line for line in err.splitlines() if line.startswith("left out"))
    assert re.search(message, line), line
    assert sorted(collected(place)) == ["b", "e"]
    assert [path.name for path in (place / "tasks" / "labels").iterdir()] == ["b.nii.gz"]
    table = (place / "tasks" / "collected.csv").read_text()
    assert "failed" in table and case in table


def test_slices_of_no_task_stop_before_any_label(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their case would else be taken for looked at as a whole."""
    give_back(place, "a", corrected(load_tasks(place / "tasks"), "a"))
    write_words(place, "1", slices="3")
    assert collect(place) == 2
    assert re.search(r"tasks.csv: slices '3' of '1'.*not handed out", capsys.readouterr().err)
    assert not (place / "tasks" / "labels").exists()


def test_nothing_is_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = load_tasks(place / "tasks")
    give_back(place, "a", corrected(tasks, "a"))
    assert collect(place) == 0
    give_back(place, "a", corrected(tasks, "a") % 2)  # corrected once more
    first = tree(place / "tasks" / "labels")
    assert collect(place) == 3
    assert "differs from the label that came back" in capsys.readouterr().err
    assert tree(place / "tasks" / "labels") == first
    assert sorted(collected(place)) == ["a", "e"]
    other = {"training": [{"image": "images/c.nii.gz", "label": "x.nii.gz"}], "unlabeled": []}
    (place / "other.json").write_text(json.dumps(other))
    assert collect(place, "--output", str(place / "other.json")) == 2
    assert json.loads((place / "other.json").read_text()) == other


def test_a_label_never_joins_a_datalist_that_tests_on_it(place: Path) -> None:
    """Refuse a case that trains in one split and tests in another."""
    tasks = load_tasks(place / "tasks")
    give_back(place, "a", corrected(tasks, "a"))
    assert collect(place) == 0
    content = json.loads((place / "split.json").read_text())
    content["test"].append(content["unlabeled"].pop(0))
    (place / "other.json").write_text(json.dumps(content))
    into = ["--into", str(place / "other.json"), "--output", str(place / "new.json")]
    assert main(["collect", str(place / "tasks"), *into]) == 3
    assert json.loads((place / "new.json").read_text()) == content


def test_rejected_after_it_was_collected(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = load_tasks(place / "tasks")
    give_back(place, "a", corrected(tasks, "a"))
    assert collect(place) == 0
    (place / "tasks" / "decisions.csv").write_text("id,decision\na,rejected\n")
    assert collect(place) == 3
    assert "collected before its mask was rejected" in capsys.readouterr().err
    assert sorted(collected(place)) == ["a", "e"]


def test_no_folder_of_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(tmp_path), "--into", "x.json"]) == 2
    assert "expected: a folder of tasks" in capsys.readouterr().err
