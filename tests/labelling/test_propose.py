"""Tasks: which program reads them, in which order they come, and what nobody may lose."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import slicerio
from PIL import Image

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.export.report import CaseResult
from monai_semiseg.labelling.hand_out import by_doubt, hand_out, uncertainty_of
from monai_semiseg.labelling.proposal import begin
from monai_semiseg.labelling.tasks import TaskFolder, load_tasks
from monai_semiseg.storage.files import sha256_of
from tests.labelling.task_builders import (
    LABELS,
    Levels,
    make_tasks,
    proposal_of,
    run_of,
    task_of,
    write_pictures,
    write_scans,
    write_series,
)
from tests.runner_builders import Sides


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scans(tmp_path_factory.mktemp("propose") / "data")


@pytest.fixture(scope="module")
def slicer(dataset: Path) -> TaskFolder:
    return make_tasks(dataset, dataset.parent / "tasks")


def test_slicerio_reads_names_and_voxels(slicer: TaskFolder) -> None:
    """Read with 3D Slicer's own reader of ``.seg.nrrd``."""
    for task in slicer.tasks:
        found = slicerio.read_segmentation(str(slicer.folder / task.mask))
        names = {segment["name"]: segment["labelValue"] for segment in found["segments"]}
        assert names == {"left": 1, "right": 2, "ignore": 255}
        assert np.array_equal(found["voxels"], proposal_of(slicer, task.id))
        assert all(len(segment["color"]) == 3 for segment in found["segments"])
        assert {path.name for path in (slicer.folder / task.name).iterdir()} == {
            f"{task.id}.nii.gz",
            f"{task.id}.seg.nrrd",
        }


def test_the_manifest_says_all(slicer: TaskFolder, dataset: Path) -> None:
    again = load_tasks(slicer.folder)
    assert again.labels == LABELS and again.ignore == 255 and len(again.tasks) == 3
    for task in again.tasks:
        image = dataset / "images" / f"{task.id}.nii.gz"
        assert task.images == {f"{task.id}/{task.id}.nii.gz": sha256_of(image)}
        assert task.grid.shape == (6, 5, 8) and len(task.voxels) == 64
    with (slicer.folder / "tasks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [task.id for task in again.tasks]
    assert {row["slice_order"] for row in rows} == {"1 (bottom) to 8 (top)"}
    assert {row["slices"] for row in rows} == {""}
    assert not (slicer.folder / ".scans").exists()
    assert {task.voxels for task in again.tasks} == {task.voxels for task in slicer.tasks}


def test_itk_snap_gets_a_label_description(dataset: Path, tmp_path: Path) -> None:
    tasks = make_tasks(dataset, tmp_path / "tasks", "nifti")
    assert task_of(tasks, "a").mask == "a/a_seg.nii.gz"
    lines = (tmp_path / "tasks" / "labels.txt").read_text().splitlines()
    entries = [line.split(maxsplit=7) for line in lines if not line.startswith("#")]
    assert [(entry[0], entry[7]) for entry in entries] == [
        ("0", '"Clear Label"'),
        ("1", '"left"'),
        ("2", '"right"'),
        ("255", '"ignore"'),
    ]
    assert all(0 <= int(value) <= 255 for entry in entries for value in entry[1:4])


def test_pictures_get_numbers_and_a_list_of_colours(tmp_path: Path) -> None:
    dataset = write_pictures(tmp_path / "data")
    tasks = make_tasks(dataset, tmp_path / "tasks", "png", Levels())
    task = task_of(tasks, "b")
    mask = np.asarray(Image.open(tasks.folder / task.mask))
    image = np.asarray(Image.open(dataset / "images" / "b.png"))
    assert task.mask == "b/b_seg.png" and np.array_equal(mask, image > 100)
    lines = (tasks.folder / "labelmap.txt").read_text().splitlines()
    assert lines[1] == "# numbers in the masks: 0 background, 1 left, 2 right, 255 ignore"
    assert [line.split(":")[0] for line in lines[2:]] == ["background", "left", "right", "ignore"]


def test_a_dicom_series_gets_a_seg_beside_its_slices(tmp_path: Path) -> None:
    tasks = make_tasks(write_series(tmp_path / "data"), tmp_path / "tasks", "dicom_seg")
    assert [task.id for task in tasks.tasks] == ["a", "b"] or len(tasks.tasks) == 2
    for task in tasks.tasks:
        assert task.mask.endswith("_seg.dcm") and task.series_uid
        assert len(task.images) == 8
        assert all((tasks.folder / file).is_file() for file in task.images)


def test_doubtful_cases_come_first() -> None:
    """Sort flags before numbers, numbers in falling order, then names; failures have no task."""

    def result(name: str, doubt: float | None, *flags: str) -> CaseResult:
        measures = {} if doubt is None else {"x": {"mean_uncertainty": doubt}, "y": {}}
        return CaseResult(name, "done", f"{name}/{name}", measures=measures, flags=flags)

    results = [
        result("sure", 0.1),
        result("d", 0.4),
        result("c", 0.4),
        result("nothing", None),
        result("flagged", 0.05, "label_volume"),
        CaseResult("bad", "failed"),
    ]
    names = [one.input for one in by_doubt(results)]
    assert names == ["flagged", "c", "d", "sure", "nothing"]


def test_the_most_doubtful_are_handed_out(dataset: Path, tmp_path: Path) -> None:
    found = open_dataset(dataset)
    proposal = begin(tmp_path / "tasks", found, found.cases, most=1)
    runner = run_of(proposal, Sides())
    (task,) = hand_out(proposal, runner).tasks
    assert task.uncertainty == max(uncertainty_of(one) or 0.0 for one in runner.results)


def test_a_bad_scan_fails_alone(tmp_path: Path) -> None:
    dataset = write_scans(tmp_path / "data")
    file = dataset / "images" / "b.nii.gz"
    file.write_bytes(file.read_bytes()[:200])
    found = open_dataset(dataset)
    proposal = begin(tmp_path / "tasks", found, found.cases)
    tasks = hand_out(proposal, run_of(proposal, Sides()))
    assert sorted(task.id for task in tasks.tasks) == ["a", "c"]
    assert set(proposal.failed) == {"b"} and "E_TRUNCATED" in proposal.failed["b"]


def test_what_was_handed_out_stays(slicer: TaskFolder, dataset: Path, tmp_path: Path) -> None:
    found = open_dataset(dataset)
    with pytest.raises(ConfigError, match="holds tasks that were handed out"):
        begin(slicer.folder, found, found.cases)
    with pytest.raises(ConfigError, match="lies inside the dataset"):
        begin(dataset / "tasks", found, found.cases)
    begin(tmp_path / "tasks", found, found.cases[:1])
    begin(tmp_path / "tasks", found, found.cases[:1])  # goes on
    with pytest.raises(ConfigError, match="another propose command was begun here"):
        begin(tmp_path / "tasks", found, found.cases)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        begin(tmp_path / "other", found, found.cases)


def test_killed_again_and_again(
    slicer: TaskFolder, dataset: Path, tmp_path: Path, count_kills: Callable[..., int]
) -> None:
    """Go on by the same command, and end with the tasks of a run that nobody killed."""
    tasks = tmp_path / "tasks"
    assert count_kills(lambda: make_tasks(dataset, tasks), tasks, step=8) >= 5
    found = json.loads((tasks / "tasks.json").read_text())
    assert found == json.loads((slicer.folder / "tasks.json").read_text())
    for task in slicer.tasks:
        assert (tasks / task.mask).read_bytes() == (slicer.folder / task.mask).read_bytes()
    assert not (tasks / ".scans").exists() and not (tasks / "request.json").exists()


def test_other_labels_than_the_datasets(tmp_path: Path) -> None:
    dataset = write_scans(tmp_path / "data")
    content = {"labels": {"0": "background", "1": "tumour", "2": "right"}}
    (dataset / "dataset.json").write_text(json.dumps(content))
    found = open_dataset(dataset)
    proposal = begin(tmp_path / "tasks", found, found.cases)
    with pytest.raises(ConfigError, match="labels are 1 left"):
        hand_out(proposal, run_of(proposal, Sides()))
