"""Labels that come back: what is one, what is refused by name, and that none is ever lost."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
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
from monai_semiseg.labelling.tasks import TaskFolder, load_tasks
from monai_semiseg.storage.files import sha256_of
from tests.labelling.task_builders import (
    LABELS,
    Levels,
    make_tasks,
    proposal_of,
    save_nrrd,
    task_of,
    write_pictures,
    write_scans,
    write_series,
)

NAMED = [("left", 1, 0), ("right", 2, 0), ("ignore", 255, 0)]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans, a split of them, and tasks for 3D Slicer; no test writes here."""
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
    """A copy of it, whose tasks are of the copied dataset."""
    shutil.copytree(pristine, tmp_path / "work")
    manifest = tmp_path / "work" / "tasks" / "tasks.json"
    content = json.loads(manifest.read_text())
    content["dataset"] = str(tmp_path / "work" / "data")
    manifest.write_text(json.dumps(content))
    return tmp_path / "work"


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


def test_a_corrected_mask_is_a_label_and_a_mere_proposal_is_none(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = load_tasks(place / "tasks")
    before = proposal_of(tasks, "a")
    mask = corrected(tasks, "a")
    give_back(place, "a", mask)
    give_back(place, "b", proposal_of(tasks, "b"))  # saved again, by another program
    untouched = tree(place / "data") | tree(place / "tasks" / "proposals")
    assert collect(place) == 0
    out = capsys.readouterr().out
    assert "1 corrected, 9 unchanged" in out
    labels = collected(place)
    assert sorted(labels) == ["a", "e"] and np.array_equal(labels["a"], mask)
    datalist = load_datalist(place / "tasks" / "datalist.json")
    left = [Path(entry["image"]).name[0] for entry in datalist["unlabeled"]]
    assert left == list("bcfghij")
    assert datalist["labels"] == json.loads((place / "split.json").read_text())["labels"]
    record = json.loads((place / "tasks" / "collected" / "a.json").read_text())
    for value, name in ((1, "left"), (2, "right")):
        one, two = before == value, mask == value
        change = record["changes"][name]
        assert change["dice"] == pytest.approx(
            2 * (one & two).sum() / (one.sum() + two.sum()), abs=1e-6
        )
        assert change["proposed"] == pytest.approx(one.sum() * 3 / 1000)
        assert change["labelled"] == pytest.approx(two.sum() * 3 / 1000)
        assert change["changed"] == (one ^ two).sum()
    assert record["changed"] == (before != mask).sum()
    assert tree(place / "data") | tree(place / "tasks" / "proposals") == untouched


def test_a_second_run_changes_nothing(place: Path) -> None:
    tasks = load_tasks(place / "tasks")
    give_back(place, "a", corrected(tasks, "a"))
    assert collect(place) == 0
    first = tree(place)
    assert collect(place) == 0
    assert tree(place) == first
    give_back(place, "c", corrected(tasks, "c"))  # one more comes back later
    assert collect(place) == 0
    assert sorted(collected(place)) == ["a", "c", "e"]
    (place / "tasks" / "a" / "a.seg.nrrd").unlink()  # its label stays
    assert collect(place) == 0
    assert sorted(collected(place)) == ["a", "c", "e"]


@pytest.mark.slow
def copy_of(place: Path, name: str) -> Path:
    """Return a copy of dataset and tasks."""
    copy = place.parent / name
    shutil.copytree(place, copy)
    manifest = copy / "tasks" / "tasks.json"
    manifest.write_text(manifest.read_text().replace(str(place), str(copy)))
    return copy


def test_twenty_kills_lose_no_label(place: Path, count_kills: Callable[..., int]) -> None:
    """At one change of a file after another; the result is that of a run that nobody killed."""
    tasks = load_tasks(place / "tasks")
    for case in "abcfghij":
        give_back(place, case, corrected(tasks, case))
    whole, before = copy_of(place, "whole"), copy_of(place, "before")
    assert collect(whole) == 0
    kills = sum(
        count_kills(lambda folder=folder: collect(folder), folder / "tasks", step=1)
        for folder in (before, place)
    )
    assert kills >= 20
    labels, expected = collected(place), collected(whole)
    assert "".join(sorted(labels)) == "abcefghij"
    assert all(np.array_equal(labels[case], expected[case]) for case in expected)
    for name in ("datalist.json", "collected.csv", "labels/a.nii.gz", "collected/b.json"):
        one, two = (folder / "tasks" / name for folder in (place, whole))
        assert one.read_text(errors="replace").replace(str(place), "") == two.read_text(
            errors="replace"
        ).replace(str(whole), "")
    assert not list(place.rglob(".part-*"))


def test_layers_and_shuffled_numbers_of_slicerio(place: Path) -> None:
    """Two layers, numbers in another order, and a name in capitals."""
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


def test_a_part_that_slicer_has_cropped(place: Path) -> None:
    """With an offset in its header, a ``.seg.nrrd`` may hold less than the image."""
    mask = np.zeros((6, 5, 8), np.uint8)
    mask[2:4, 1:3, 3:6] = 1
    path = give_back(place, "a", mask)
    image = sitk.ReadImage(str(path))
    part = with_keys(image[2:4, 1:3, 3:6], image)
    part.SetMetaData("Segmentation_ReferenceImageExtentOffset", "2 1 3")
    sitk.WriteImage(part, str(path), useCompression=True)
    assert collect(place) == 0
    assert np.array_equal(collected(place)["a"], mask)


@pytest.mark.parametrize(
    ("words", "seen"),
    [("3 to 5; 8", [2, 3, 4, 7]), ("all", range(8)), ("1-2,4..5", [0, 1, 3, 4])],
    ids=["ranges", "all", "other_dashes"],
)
def test_slices_that_were_looked_at(place: Path, words: str, seen: list[int]) -> None:
    """Of an untouched proposal, too: whoever names slices has looked at them."""
    tasks = load_tasks(place / "tasks")
    write_words(place, "b", slices=words, minutes="7,5")
    assert collect(place) == 0
    mask = proposal_of(tasks, "b").astype(int)
    mask[:, :, [k for k in range(8) if k not in seen]] = 255
    labels = collected(place)
    assert sorted(labels) == ["b", "e"] and np.array_equal(labels["b"], mask)
    record = json.loads((place / "tasks" / "collected" / "b.json").read_text())
    assert record["minutes"] == 7.5 and record["ignored"] == (mask == 255).sum()
    declared = load_datalist(place / "tasks" / "datalist.json")["labels"]
    assert declared.get("255") == ("ignore" if 255 in mask else None)


def write_words(place: Path, case: str, **words: str) -> None:
    """Fill in ``tasks.csv`` as a spreadsheet saves it, with semicolons."""
    rows = [["id", "slices", "minutes"]]
    rows.append([case, words.get("slices", ""), words.get("minutes", "")])
    text = "\r\n".join(";".join(f'"{cell}"' for cell in row) for row in rows)
    (place / "tasks" / "tasks.csv").write_text("\ufeff" + text, encoding="utf-8")


def test_decisions_of_the_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = load_tasks(place / "tasks")
    give_back(place, "c", corrected(tasks, "c"))
    rows = ["id,decision,time,note", "a/a,rejected,,", "a,accepted,2026,", "b,needs_correction,,"]
    rows += [f"{case},rejected,2026," for case in "cfghij"]
    (place / "tasks" / "proposals" / "decisions.csv").write_text("\n".join(rows) + "\n")
    # d is kept for testing, e has a label
    assert collect(place, "--accept_unchanged") == 3
    captured = capsys.readouterr()
    assert "1 accepted, 1 unchanged, 6 rejected, 2 failed" in captured.out
    labels = collected(place)
    assert sorted(labels) == ["a", "e"] and np.array_equal(labels["a"], proposal_of(tasks, "a"))


def test_from_another_folder(place: Path) -> None:
    """With other programs' names; images that were sent back as well are passed over."""
    tasks = load_tasks(place / "tasks")
    back = place / "back"
    back.mkdir()
    like = nib.load(place / "data" / "images" / "a.nii.gz").affine
    for case, name in (("a", "a_seg.nii.gz"), ("b", "B-label.nii")):
        nib.save(nib.Nifti1Image(corrected(tasks, case), like), back / name)
    give_back(place, "c", corrected(tasks, "c"), "../back/c/Segmentation.seg.nrrd")
    shutil.copy(place / "data" / "images" / "a.nii.gz", back / "a.nii.gz")
    assert collect(place, "--returned", str(back), "--labels", str(place / "new")) == 0
    labels = collected(place)
    assert sorted(labels) == ["a", "b", "c", "e"]
    assert all(np.array_equal(labels[case], corrected(tasks, case)) for case in "abc")
    assert sorted(path.name for path in (place / "new").iterdir()) == [
        "a.nii.gz",
        "b.nii.gz",
        "c.nii.gz",
    ]


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
    no_image: ("a", "a.nii.gz: the image is not there"),
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
    """It is named, the good one beside it is collected, and nothing is written for it."""
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


def test_nothing_is_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = load_tasks(place / "tasks")
    give_back(place, "a", corrected(tasks, "a"))
    assert collect(place) == 0
    give_back(place, "a", corrected(tasks, "a") % 2)  # corrected once more
    first = tree(place / "tasks" / "labels")
    assert collect(place) == 3
    assert "holds another label than came back" in capsys.readouterr().err
    assert tree(place / "tasks" / "labels") == first
    assert sorted(collected(place)) == ["a", "e"]
    other = {"training": [{"image": "images/c.nii.gz", "label": "x.nii.gz"}], "unlabeled": []}
    (place / "other.json").write_text(json.dumps(other))
    assert collect(place, "--output", str(place / "other.json")) == 2
    assert json.loads((place / "other.json").read_text()) == other


def test_a_label_never_joins_a_datalist_that_tests_on_it(place: Path) -> None:
    """A case that trains in one split may test in another."""
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


def test_in_place(place: Path) -> None:
    """The datalist itself may be extended."""
    tasks = load_tasks(place / "tasks")
    give_back(place, "a", corrected(tasks, "a"))
    for _ in range(2):
        assert collect(place, "--output", str(place / "split.json")) == 0
        assert sorted(collected(place, "split.json")) == ["a", "e"]


def test_no_folder_of_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(tmp_path), "--into", "x.json"]) == 2
    assert "expected: a folder of tasks" in capsys.readouterr().err


def test_pictures_of_numbers_and_in_cvats_colours(tmp_path: Path) -> None:
    dataset = write_pictures(tmp_path / "data")
    tasks = make_tasks(dataset, tmp_path / "tasks", "png", Levels())
    mask = {case: proposal_of(tasks, case).astype(np.uint8)[:, :, 0].T for case in "ab"}
    for one in mask.values():
        one[2:5, 1:4] = 2
    Image.fromarray(mask["a"]).save(tasks.folder / "a" / "a_seg.png")
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
    assert len(datalist["training"]) == 2 and len(datalist["unlabeled"]) == 1
    for case, entry in zip("ab", datalist["training"], strict=True):
        found = np.asarray(Image.open(dataset / entry["label"]))
        assert entry["label"].endswith(f"{case}.png") and np.array_equal(found, mask[case])


def test_a_dicom_seg_of_some_slices(tmp_path: Path) -> None:
    """Under any name: the series that it refers to says whose it is."""
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
    """Grey levels, colours or a file for each label: read by the rule of the datalist."""
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
