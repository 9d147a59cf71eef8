"""Whole way on the sample data: a model proposes, a labeller corrects, the next model learns.

In every kind: ``.seg.nrrd``, NIfTI, DICOM SEG and PNG.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.export.dicom_seg import write_segmentation
from monai_semiseg.labelling.selection_table import read_selection
from monai_semiseg.labelling.simulated import correct_with_truth
from monai_semiseg.labelling.tasks import load_tasks

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
SCANS = SAMPLES / "dataset"
PHOTOGRAPHS = SAMPLES / "photographs" / "dataset"
SERIES = SAMPLES / "scans" / "dicom"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return settings of a training that takes seconds."""
    file = tmp_path_factory.mktemp("small") / "small.yaml"
    file.write_text(yaml.safe_dump({"network_def#features": [4, 4, 4, 4, 8, 4]}))
    return ["--iterations", "2", "--device", "cpu", "--set", "num_workers=0", "--config", str(file)]


def run(*words: object, code: int = 0) -> None:
    assert main([str(word) for word in words]) == code


def trained(dataset: Path, datalist: Path, output: Path, small: list[str]) -> Path:
    run("train", dataset, "--datalist", datalist, "--output", output, *small)
    return output


def labels_of(datalist: Path) -> list[str]:
    """Return the names of the label files of the training cases."""
    entries = json.loads(datalist.read_text())["training"]
    return [Path(entry["label"]).name for entry in entries]


@pytest.mark.slow
def test_scans_in_three_kinds(tmp_path: Path, small: list[str]) -> None:
    split = tmp_path / "split.json"
    run("split", SCANS, "--labelled", 2, "--output", split)
    model = trained(SCANS, split, tmp_path / "model", small)
    free = [
        Path(entry["image"]).name.removesuffix(".nii.gz")
        for entry in json.loads(split.read_text())["unlabeled"]
    ]
    table = tmp_path / "to_label.csv"
    asked = ["--already", split, "--strategy", "kmedoids", "--count", 1, "--output", table]
    run("select", SCANS, *asked)
    (chosen,) = read_selection(table)
    ids = [chosen, next(one for one in free if one != chosen)]
    known = {case.id: case for case in open_dataset(SCANS).cases}
    into = split
    for cases, kind in ((table, "seg.nrrd"), (f"{ids[1]},", "nifti")):
        tasks = tmp_path / kind
        asked = ["--datalist", split, "--weights", model, "--cases", str(cases).rstrip(",")]
        run("propose", SCANS, *asked, "--format", kind, "--output", tasks, "--device", "cpu")
        correct_with_truth(load_tasks(tasks), open_dataset(SCANS))
        run("collect", tasks, "--into", into)
        into = tasks / "datalist.json"
    assert labels_of(into)[2:] == [f"{one}.nii.gz" for one in ids]
    for one, entry in zip(ids, json.loads(into.read_text())["training"][2:], strict=True):
        truth = read_label(SCANS / str(known[one].label))
        found = read_label(SCANS / entry["label"])
        assert np.array_equal(found.array, truth.array)
        assert np.allclose(found.affine, truth.affine)
    trained(SCANS, into, tmp_path / "again", small)

    tasks = tmp_path / "series"
    asked = ["--weights", model, "--format", "dicom_seg", "--output", tasks, "--device", "cpu"]
    run("propose", SERIES, *asked)
    handed_out = load_tasks(tasks)
    assert len(handed_out.tasks) == 2
    for number, task in enumerate(handed_out.tasks):
        mask = np.zeros(task.shape, np.uint8)
        mask[5:12, 6 : 14 + number, 4:9] = 1
        mask[7:10, 8:11, 5:8] = 2
        files = [tasks / file for file in task.images]
        write_segmentation(mask, task.grid.affine, files, tasks / task.mask, handed_out.labels)
    run("collect", tasks, "--into", SERIES)
    assert sorted(labels_of(tasks / "datalist.json")) == sorted(
        f"{task.name}.nii.gz" for task in handed_out.tasks
    )
    trained(SERIES, tasks / "datalist.json", tmp_path / "of_series", small)


@pytest.mark.slow
def test_photographs(tmp_path: Path, small: list[str]) -> None:
    split = tmp_path / "split.json"
    run("split", PHOTOGRAPHS, "--labelled", 2, "--output", split)
    model = trained(PHOTOGRAPHS, split, tmp_path / "model", small)
    tasks = tmp_path / "tasks"
    known = [case.id for case in open_dataset(PHOTOGRAPHS).cases if case.label]
    free = {Path(entry["image"]).stem for entry in json.loads(split.read_text())["unlabeled"]}
    ids = [one for one in known if one in free][:2]
    asked = ["--datalist", split, "--weights", model, "--format", "png", "--device", "cpu"]
    run("propose", PHOTOGRAPHS, *asked, "--cases", ",".join(ids), "--output", tasks)
    correct_with_truth(load_tasks(tasks), open_dataset(PHOTOGRAPHS))
    run("collect", tasks, "--into", split)
    names = [f"{task.name}.png" for task in load_tasks(tasks).tasks]
    assert labels_of(tasks / "datalist.json")[2:] == names
    trained(PHOTOGRAPHS, tasks / "datalist.json", tmp_path / "again", small)
