"""Masks as every program saves them, and label files as the dataset has them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import slicerio
from PIL import Image

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.datalist import load_datalist
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.export.dicom_seg import write_segmentation
from monai_semiseg.labelling.returned import find_returned
from monai_semiseg.labelling.tasks import load_tasks
from tests.labelling.collect_builders import (
    collect,
    collected,
    corrected,
    give_back,
    with_keys,
)
from tests.labelling.task_builders import (
    Levels,
    make_tasks,
    proposal_of,
    task_of,
    write_pictures,
    write_series,
)


def test_layers_and_shuffled_numbers_of_slicerio(place: Path) -> None:
    """Read two layers, numbers in another order, and a name in capitals."""
    tasks = load_tasks(place / "tasks")
    mask = corrected(tasks, "a")
    mask[0, 0, :2] = 255
    path = tasks.folder / task_of(tasks, "a").mask
    found = slicerio.read_segmentation(str(path))
    layers = [np.where(mask == 2, 7, np.where(mask == 255, 3, 0)), np.where(mask == 1, 4, 0)]
    found["voxels"] = np.stack(layers).astype(np.uint8)
    by_name = {segment["name"]: segment for segment in found["segments"]}
    for name, value, layer in (("right", 7, 0), ("ignore", 3, 0), ("left", 4, 1)):
        by_name[name]["labelValue"], by_name[name]["layer"] = value, layer
    by_name["right"]["name"] = "Right"
    found["segments"] = [by_name[name] for name in ("right", "left", "ignore")]
    slicerio.write_segmentation(str(path), found)
    assert len(slicerio.read_segmentation(str(path))["voxels"].shape) == 4
    assert collect(place) == 0
    assert np.array_equal(collected(place)["a"], mask)
    assert load_datalist(place / "tasks" / "datalist.json")["labels"]["255"] == "ignore"


def test_a_dicom_seg_of_one_of_several_volumes_of_a_series(tmp_path: Path) -> None:
    """Tell echoes, which share a series, by their folders; never take one for another."""
    tasks = make_tasks(write_series(tmp_path / "data"), tmp_path / "tasks", "dicom_seg")
    uid = task_of(tasks, "a").series_uid
    shared = [replace(task, series_uid=uid) for task in tasks.tasks]
    mask = tasks.folder / task_of(tasks, "a").mask
    back = tmp_path / "back"
    back.mkdir()
    shutil.copy(mask, back / "export.dcm")
    for order in (shared, shared[::-1]):
        several = replace(tasks, tasks=order)
        assert find_returned(several, tasks.folder).by_task == {"a": [mask]}
        found = find_returned(several, back)
        assert found.by_task == {} and "of a series with 2 cases" in str(found.foreign)
    assert find_returned(tasks, back).by_task == {"a": [back / "export.dcm"]}


def test_a_part_that_slicer_has_cropped(place: Path) -> None:
    """Read a ``.seg.nrrd`` that holds less than the image, with an offset in its header."""
    mask = np.zeros((6, 5, 8), np.uint8)
    mask[2:4, 1:3, 3:6] = 1
    path = give_back(place, "a", mask)
    image = sitk.ReadImage(str(path))
    part = with_keys(image[2:4, 1:3, 3:6], image)
    part.SetMetaData("Segmentation_ReferenceImageExtentOffset", "2 1 3")
    sitk.WriteImage(part, str(path), useCompression=True)
    assert collect(place) == 0
    assert np.array_equal(collected(place)["a"], mask)


def test_pictures_of_numbers_and_in_cvats_colours(tmp_path: Path) -> None:
    dataset = write_pictures(tmp_path / "data")
    tasks = make_tasks(dataset, tmp_path / "tasks", "png", Levels())
    mask = {case: proposal_of(tasks, case).astype(np.uint8)[:, :, 0].T for case in "abc"}
    for one in mask.values():
        one[2:5, 1:4] = 2
    Image.fromarray(mask["a"]).save(tasks.folder / "a" / "a_seg.png")
    Image.fromarray(mask["c"]).convert("RGB").save(tasks.folder / "c" / "c_seg.png")
    archive = tmp_path / "cvat" / "SegmentationClass"
    archive.mkdir(parents=True)
    colours = np.array([[0, 0, 0], [10, 200, 30], [250, 0, 9]], np.uint8)
    Image.fromarray(colours[mask["b"]]).save(archive / "b.png")
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "right:250,0,9::"]
    (tmp_path / "cvat" / "labelmap.txt").write_text("\n".join([*lines, "left:10,200,30::", ""]))
    into = ["collect", str(tasks.folder), "--into", str(dataset)]
    assert main(into) == 0
    assert main([*into, "--returned", str(tmp_path / "cvat")]) == 0
    datalist = load_datalist(tasks.folder / "datalist.json")
    assert len(datalist["training"]) == 3 and not datalist["unlabeled"]
    for case, entry in zip("abc", datalist["training"], strict=True):
        found = np.asarray(Image.open(dataset / entry["label"]))
        assert entry["label"].endswith(f"{case}.png") and np.array_equal(found, mask[case])


def test_a_dicom_seg_of_some_slices(tmp_path: Path) -> None:
    """Find it under any name: the series that it refers to says whose it is."""
    dataset = write_series(tmp_path / "data")
    tasks = make_tasks(dataset, tmp_path / "tasks", "dicom_seg")
    task = tasks.tasks[0]
    mask = np.zeros(task.shape, np.uint8)
    mask[1:4, 1:4, 3:5] = 2
    back = tmp_path / "back"
    files = [tasks.folder / file for file in task.images]
    names = {0: "background", 5: "Ignore", 7: "right", 9: "left"}
    seg = np.where(mask == 2, 7, 0)
    seg[5, 4, 4] = 5
    write_segmentation(seg, task.grid.affine, files, back / "1.2.3.4.dcm", names)
    assert pydicom.dcmread(back / "1.2.3.4.dcm").NumberOfFrames < 8
    shutil.copy(files[0], back / "slice.dcm")
    into = ["collect", str(tasks.folder), "--into", str(dataset), "--returned", str(back)]
    assert main(into) == 0
    (entry,) = load_datalist(tasks.folder / "datalist.json")["training"]
    found = read_label(dataset / entry["label"])
    mask = mask.astype(int)
    mask[5, 4, 4] = 255
    assert np.array_equal(found.array, mask)
    assert Path(entry["label"]).name == f"{task.name}.nii.gz"


@pytest.mark.parametrize("kind", ["threshold", "colours", "merged"])
def test_the_datasets_own_kind_of_label_files(kind: str, tmp_path: Path) -> None:
    """Write grey levels, colours or a file for each label: read by the rule of the datalist."""
    dataset = write_pictures(tmp_path / "data")
    tasks = make_tasks(dataset, tmp_path / "tasks", "png", Levels())
    mask = proposal_of(tasks, "a").astype(np.uint8)[:, :, 0].T
    mask[2:5, 1:4] = 1 if kind == "threshold" else 2
    Image.fromarray(mask).save(tasks.folder / "a" / "a_seg.png")
    rule: dict[str, Any] = {
        "threshold": {"threshold": 127, "numbers": {"": 1}},
        "colours": {"colours": {"left": "#00ff00", "right": "#ff0000"}},
        "merged": {"merge": True, "numbers": {"left": 1, "right": 2}},
    }[kind]
    unlabelled = [{"image": f"images/{case}.png"} for case in "abc"]
    content = {"training": [], "unlabeled": unlabelled, "label_rule": rule}
    (tmp_path / "split.json").write_text(json.dumps(content))
    assert main(["collect", str(tasks.folder), "--into", str(tmp_path / "split.json")]) == 0
    (entry,) = load_datalist(tasks.folder / "datalist.json")["training"]
    files = [entry["label"]] if isinstance(entry["label"], str) else entry["label"]
    pixels = [np.asarray(Image.open(dataset / file)) for file in files]
    if kind == "threshold":
        assert np.array_equal(pixels[0] > 127, mask == 1)
    elif kind == "colours":
        assert np.array_equal(pixels[0][..., 0] == 255, mask == 2)
        assert np.array_equal(pixels[0][..., 1] == 255, mask == 1)
    else:
        assert [Path(file).name for file in files] == ["a_left.png", "a_right.png"]
        assert all(np.array_equal(one != 0, mask == n) for n, one in enumerate(pixels, 1))
