"""DICOM trees as data sets: series, studies with channels, DICOM SEG and NIfTI as labels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from monai.transforms import LoadImaged
from pydicom.dataset import Dataset

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.label_files import LabelReader
from monai_semiseg.errors import GeometryError
from monai_semiseg.export.dicom_seg import write_segmentation
from monai_semiseg.images.grid import onto_grid
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.images.scan import read_scan
from monai_semiseg.transforms.grids import LabelOnImageGridd

PATIENT = "CANARY-7731"


def write_series(make: SimpleNamespace, folder: Path, description: str, **more: Any) -> list[Path]:
    """Write a series of the patient of the study's folder, all in one study."""

    def edit(data: Dataset, _: int) -> None:
        data.SeriesDescription = description
        data.PatientID = f"{PATIENT}-{folder.parent.name}"
        data.StudyInstanceUID = f"1.2.3.{sum(folder.parent.name.encode())}"
        data.PatientName = data.PatientBirthDate = data.PatientSex = data.AccessionNumber = ""
        data.StudyID = data.StudyDate = data.StudyTime = data.ReferringPhysicianName = ""
        data.SeriesTime = data.ContentDate = data.ContentTime = ""
        data.Manufacturer = "x"

    files: list[Path] = make.series(folder, edit=edit, **more)
    return files


def box(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Write two labels in the slices in the middle alone, so that a SEG holds no others."""
    mask = np.zeros(shape, np.uint8)
    mask[1:4, 2:5, 3:5] = 1
    mask[4:6, 2:5, 4:6] = 2
    return mask


NAMES = {0: "background", 1: "core", 2: "rim"}


@pytest.fixture
def tree(make: SimpleNamespace, tmp_path: Path) -> Path:
    """Write three studies of two series; one has a SEG, one a NIfTI label, one has no label."""
    root = tmp_path / "tree"
    for study in ("s1", "s2", "s3"):
        for name in ("FLAIR", "T1"):
            write_series(make, root / study / name.lower(), f"ax {name} 3mm")
    flair = root / "s1" / "flair"
    scan = read_scan(flair)
    files = sorted(flair.iterdir())
    write_segmentation(box(scan.shape), scan.affine, files, root / "segs" / "1.dcm", NAMES)
    image = nib.Nifti1Image(box(scan.shape), read_scan(root / "s2" / "t1").affine)
    nib.save(image, root / "s2" / "t1.nii.gz")
    return root


def test_every_series_is_a_case(tree: Path) -> None:
    dataset = open_dataset(tree)
    assert dataset.problems == {} and dataset.labels == NAMES
    assert {case.id: case.label for case in dataset.cases} == {
        "s1/flair": "segs/1.dcm",
        "s1/t1": None,
        "s2/flair": None,
        "s2/t1": "s2/t1.nii.gz",
        "s3/flair": None,
        "s3/t1": None,
    }
    assert [case.image for case in dataset.cases] == [case.id for case in dataset.cases]
    report = check_dataset(dataset, progress=False)
    assert report.errors == []
    counts = {fact.case.id: fact.labels for fact in report.cases if fact.labels}
    mask = box(report.cases[0].shape)
    expected = {value: int((mask == value).sum()) for value in (1, 2)}
    for found in counts.values():
        assert {value: found[value] for value in (1, 2)} == expected


def test_a_segmentation_is_put_onto_its_series(tree: Path) -> None:
    """Read it by the loader of the bundles; the file holds three slices of eight."""
    load = LoadImaged("image", reader=ScanReader(), ensure_channel_first=True)
    load_label = LoadImaged("label", reader=LabelReader(), ensure_channel_first=True)
    item = {"image": str(tree / "s1" / "flair"), "label": str(tree / "segs" / "1.dcm")}
    item = load_label(load(item))
    assert item["label"].shape != item["image"].shape
    label = np.asarray(LabelOnImageGridd("label")(item)["label"])[0]
    assert np.array_equal(label, box(label.shape))


@pytest.mark.parametrize("named", ["every slice", "slices of the segments"])
def test_a_segmentation_is_put_onto_its_echo(
    make: SimpleNamespace, tmp_path: Path, named: str
) -> None:
    """Find, of several volumes of a series, the one whose images it names, or some of them."""
    for echo in (1, 2):
        folder = tmp_path / "tree" / "s1" / f"echo{echo}"
        write_series(make, folder, "GRE", uid="1.2.3.4", name=f"E{echo}_{{}}.dcm")
        for file in folder.iterdir():
            data = pydicom.dcmread(file)
            data.EchoNumbers = echo
            data.save_as(file)
    scan = read_scan(folder)
    seg = write_segmentation(
        box(scan.shape), scan.affine, sorted(folder.iterdir()), tmp_path / "tree" / "seg.dcm", NAMES
    )
    if named != "every slice":
        data = pydicom.dcmread(seg)
        (series,) = data.ReferencedSeriesSequence
        first = pydicom.dcmread(folder / "E2_0.dcm").SOPInstanceUID
        images = series.ReferencedInstanceSequence
        series.ReferencedInstanceSequence = [
            image for image in images if image.ReferencedSOPInstanceUID != first
        ]
        data.save_as(seg)
    dataset = open_dataset(tmp_path / "tree")
    assert dataset.problems == {}
    assert {case.id: case.label for case in dataset.cases} == {
        "s1/echo1": None,
        "s1/echo2": "seg.dcm",
    }


def test_a_segmentation_of_another_place_is_refused(make: SimpleNamespace, tree: Path) -> None:
    from monai_semiseg.datasets.label_files import read_label

    write_series(make, tree / "s4" / "far", "x", origin=(40.0, 4.0, 30.0))
    image = read_scan(tree / "s4" / "far")
    label = read_label(tree / "segs" / "1.dcm")
    with pytest.raises(GeometryError, match="mm off the image"):
        onto_grid(label.array, label.grid, image.grid)
    # A NIfTI label of fewer slices is a mistake, and no part.
    part = nib.Nifti1Image(np.ones((*image.shape[:2], 3), np.uint8), image.affine)
    nib.save(part, tree / "s4" / "far.nii.gz")
    errors = check_dataset(open_dataset(tree), progress=False).errors
    assert [(one.code, one.case) for one in errors] == [("E_GEOMETRY", "s4/far")]


@pytest.mark.parametrize("channels", ["T1,FLAIR", "T1=^ax t1,FLAIR=flair"])
def test_series_of_a_study_are_channels(tree: Path, channels: str) -> None:
    dataset = open_dataset(tree, channels=channels)
    assert dataset.problems == {} and dataset.channel_names == ("T1", "FLAIR")
    assert [(case.id, case.image, case.label) for case in dataset.cases] == [
        ("s1", ("s1/t1", "s1/flair"), "segs/1.dcm"),
        ("s2", ("s2/t1", "s2/flair"), "s2/t1.nii.gz"),
        ("s3", ("s3/t1", "s3/flair"), None),
    ]
    for case in dataset.cases:
        both = read_scan(case.image_paths(tree), channels=dataset.channel_names).array
        for number, name in enumerate(("t1", "flair")):
            assert np.array_equal(both[..., number], read_scan(tree / case.id / name).array)


def test_studies_with_too_few_or_too_many_series_are_named(
    make: SimpleNamespace, tree: Path
) -> None:
    for file in (tree / "s3" / "t1").iterdir():
        file.unlink()
    write_series(make, tree / "s2" / "again", "FLAIR, again")
    dataset = open_dataset(tree, channels="T1,FLAIR")
    assert [case.id for case in dataset.cases] == ["s1"]
    assert dataset.problems["s3"].startswith("lacks T1: one channel of s3")
    assert dataset.problems["s2"] == "2 series match channel FLAIR: s2/again, s2/flair"


def test_a_patient_is_a_group_and_its_id_is_written_nowhere(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "list.json"
    command = ["split", str(tree), "--labelled", "1", "--test", "1", "--output", str(out)]
    assert main(command) == 0
    content = json.loads(out.read_text())
    of_patient = {
        study: hashlib.sha256(f"{PATIENT}-{study}".encode()).hexdigest()[:16]
        for study in ("s1", "s2", "s3")
    }
    for section in ("training", "unlabeled", "test"):
        for entry in content[section]:
            assert entry["group"] == of_patient[entry["image"].split("/")[0]]
    held_out = content["test"][0]["group"]
    assert all(entry["group"] != held_out for entry in content["unlabeled"])
    assert len(content["left_out"]) == 1
    report, table = tmp_path / "report.json", tmp_path / "cases.csv"
    assert main(["check", str(tree), "--output", str(report), "--table", str(table)]) == 0
    assert PATIENT not in out.read_text() + report.read_text() + table.read_text()
    again = open_dataset(table)
    assert [case.group for case in again.cases] == [case.group for case in open_dataset(tree).cases]


def test_a_label_without_its_series_is_an_error(tree: Path) -> None:
    for name in ("other.nii.gz", "flair.nii.gz"):
        nib.save(nib.Nifti1Image(box((6, 6, 8)), np.eye(4)), tree / name)
    for file in (tree / "s1" / "flair").iterdir():
        file.unlink()
    assert open_dataset(tree).problems == {
        "segs/1.dcm": "a label without an image",
        "other.nii.gz": "a label without an image",
        "flair.nii.gz": "a label that fits 2 series",
    }


def test_series_that_share_a_folder_come_back_from_a_table(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    for name in "ab":
        write_series(make, tmp_path / "d" / "all", name, name=name + "{}", count=5)
    dataset = open_dataset(tmp_path / "d")
    assert [len(case.image) for case in dataset.cases] == [5, 5]
    assert main(["check", str(tmp_path / "d"), "--table", str(tmp_path / "t.csv")]) == 0
    again = open_dataset(tmp_path / "t.csv")
    for one, other in zip(dataset.cases, again.cases, strict=True):
        first = read_scan(one.image_paths(dataset.root)).array
        assert np.array_equal(first, read_scan(other.image_paths(again.root)).array)
