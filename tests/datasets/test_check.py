"""A dataset with a fault in it is reported with case, file and value; a sound one is not."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.check_report import CaseFacts
from monai_semiseg.datasets.cross_checks import unlike_labelled
from monai_semiseg.datasets.dataset import DatasetCase, open_dataset

AFFINE = np.diag([1.0, 1.2, 1.5, 1.0])


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.header.set_sform(affine, code=1)
    nib.save(image, path)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Write four labelled scans and one without a label, in the Decathlon layout."""
    rng = np.random.default_rng(0)
    entries = []
    for n in range(5):
        save(tmp_path / "imagesTr" / f"c{n}.nii.gz", rng.normal(size=(6, 7, 8)).astype(np.float32))
        entries.append({"image": f"./imagesTr/c{n}.nii.gz"})
        if n < 4:
            label = np.zeros((6, 7, 8), np.uint8)
            label[1:3, 1:3, 1:3] = 1
            label[3, 3, 3] = 2
            save(tmp_path / "labelsTr" / f"c{n}.nii.gz", label)
            entries[-1]["label"] = f"./labelsTr/c{n}.nii.gz"
    labels = {"0": "background", "1": "a", "2": "b"}
    description = {"labels": labels, "training": entries, "modality": {"0": "MRI"}}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    return tmp_path


def relabel(
    dataset: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray = AFFINE
) -> None:
    path = dataset / "labelsTr" / "c1.nii.gz"
    save(path, change(np.asarray(nib.load(path).dataobj)), affine)


def set_voxel(value: float, dtype: str = "float32") -> Callable[[np.ndarray], np.ndarray]:
    def change(label: np.ndarray) -> np.ndarray:
        label = label.astype(dtype)
        label[5, 5, 5] = value
        return label

    return change


def turned() -> np.ndarray:
    angle = 3e-3
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ AFFINE


def shifted(offset: float) -> np.ndarray:
    moved = AFFINE.copy()
    moved[0, 3] += offset
    return moved


ERRORS: dict[str, tuple[Callable[[Path], object], str, str]] = {  # fault -> damage, code, words
    "undeclared value": (
        lambda d: relabel(d, set_voxel(255, "uint8")),
        "E_LABEL",
        "255 (1 voxels)",
    ),
    "negative value": (lambda d: relabel(d, set_voxel(-1)), "E_LABEL", "-1 (1 voxels)"),
    "broken value": (lambda d: relabel(d, set_voxel(0.5)), "E_LABEL", "whole numbers"),
    "shape": (lambda d: relabel(d, lambda a: a[:-1]), "E_GEOMETRY", "5x7x8 voxels"),
    "voxel size": (
        lambda d: relabel(d, lambda a: a, AFFINE * [1.01, 1, 1, 1]),
        "E_GEOMETRY",
        "1.01 x 1.2 x 1.5 mm",
    ),
    "turned": (lambda d: relabel(d, lambda a: a, turned()), "E_GEOMETRY", "0.0263 mm off"),
    "shifted": (lambda d: relabel(d, lambda a: a, shifted(3)), "E_GEOMETRY", "3 mm off"),
    "truncated": (
        lambda d: (d / "imagesTr/c1.nii.gz").write_bytes(
            (d / "imagesTr/c1.nii.gz").read_bytes()[:-20]
        ),
        "E_TRUNCATED",
        "c1.nii.gz",
    ),
    "missing label": (
        lambda d: (d / "labelsTr/c1.nii.gz").unlink(),
        "E_LAYOUT",
        "labelsTr/c1.nii.gz",
    ),
    "missing image": (
        lambda d: (d / "imagesTr/c1.nii.gz").unlink(),
        "E_LAYOUT",
        "imagesTr/c1.nii.gz",
    ),
}


@pytest.mark.parametrize("fault", ERRORS)
def test_errors(dataset: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage, code, words = ERRORS[fault]
    damage(dataset)
    found = [
        f for f in check_dataset(open_dataset(dataset), progress=False).errors if f.code == code
    ]
    assert any(words in finding.message for finding in found)
    assert main(["check", str(dataset), "--output", str(dataset / "r.json")]) == 2
    assert any(
        words in row["message"] for row in json.loads((dataset / "r.json").read_text())["findings"]
    )


def test_sound(dataset: Path) -> None:
    report = check_dataset(open_dataset(dataset), progress=False)
    assert report.findings == []
    assert report.cases[0].labels == {0: 6 * 7 * 8 - 9, 1: 8, 2: 1}
    assert main(["check", str(dataset)]) == 0


def test_nearly_whole_labels_are_whole(dataset: Path) -> None:
    relabel(dataset, set_voxel(1.0000001, "float64"))
    assert check_dataset(open_dataset(dataset), progress=False).findings == []


def test_empty_and_absent_classes_are_said(dataset: Path) -> None:
    relabel(dataset, np.zeros_like)
    for n in (0, 2, 3):
        path = dataset / "labelsTr" / f"c{n}.nii.gz"
        save(path, np.minimum(np.asarray(nib.load(path).dataobj), 1))
    report = check_dataset(open_dataset(dataset), progress=False)
    assert {finding.code for finding in report.findings} == {
        "W_CONSTANT",
        "W_EMPTY",
        "W_ABSENT",
    } and report.errors == []


@pytest.mark.parametrize(
    "sections", [("training", "test"), ("unlabeled", "test"), ("training", "training")]
)
def test_the_same_scan_twice(dataset: Path, sections: tuple[str, str]) -> None:
    """Compare pixels: the scan has another name and other bytes."""
    image = nib.load(dataset / "imagesTr" / "c1.nii.gz")
    nib.save(
        nib.Nifti1Image(np.asarray(image.dataobj), image.affine), dataset / "imagesTr" / "c4.nii.gz"
    )
    datalist: dict[str, list[dict[str, str]]] = {
        section: [] for section in ("training", "unlabeled", "test")
    }
    for name, section in zip(("c1", "c4"), sections, strict=True):
        datalist[section].append({"image": f"imagesTr/{name}.nii.gz"})
    codes = [
        f.code for f in check_dataset(open_dataset(dataset), datalist, progress=False).findings
    ]
    assert codes == ["W_DOUBLE" if sections[0] == sections[1] else "E_LEAK"]


@pytest.mark.parametrize("told", [False, True])
def test_unlabelled_scans_of_another_kind_are_said(dataset: Path, told: bool) -> None:
    """Use the labels on disk, or those of a datalist; labelled scans are never named."""
    whole = np.random.default_rng(1).normal(size=(30, 7, 8)).astype(np.float32)
    datalist = None
    if told:
        names = [{"image": f"imagesTr/c{n}.nii.gz"} for n in range(5)]
        datalist = {"training": names[:2], "unlabeled": names[2:], "validation": [], "test": []}
    save(dataset / "imagesTr" / "c4.nii.gz", whole)
    findings = check_dataset(open_dataset(dataset), datalist, progress=False).findings
    assert [(f.level, f.code, f.case) for f in findings] == [("warning", "W_UNLIKE", "c4")]
    assert "field of view 30 x 8 x 12 mm, theirs 6-6 x 8-8 x 12-12 mm" in findings[0].message
    save(dataset / "imagesTr" / "c4.nii.gz", whole[:6], AFFINE @ np.diag([2.0, 1, 1, 1]))
    finding = check_dataset(open_dataset(dataset), datalist, progress=False).findings[0]
    assert "voxels of 2.0 x 1.2 x 1.5 mm, theirs 1.0-1.0 x" in finding.message


@pytest.mark.parametrize("modality", ["MR", "CT", ""])
def test_unlabelled_scans_of_another_modality_are_said(modality: str) -> None:
    """Warn for DICOM alone: NIfTI files do not say it."""
    labelled, free = (
        CaseFacts(DatasetCase(name, f"{name}.dcm", label), size=np.ones((2, 3)), modality=said)
        for name, label, said in (("a", "l", "MR"), ("b", None, modality))
    )
    texts = [finding.message for finding in unlike_labelled([labelled, free], None)]
    assert len(texts) == (modality == "CT") and all(
        "modality CT, theirs MR" in text for text in texts
    )


def test_plain_folders(dataset: Path) -> None:
    (dataset / "dataset.json").unlink()
    shutil.copy(dataset / "labelsTr" / "c1.nii.gz", dataset / "labelsTr" / "nobody.nii.gz")
    opened = open_dataset(dataset)
    assert [(case.id, case.label is not None) for case in opened.cases] == [
        (f"c{n}", n < 4) for n in range(5)
    ]
    assert opened.problems == {"labelsTr/nobody.nii.gz": "a label without an image"}


def stored_backwards(
    dataset: Path, name: str, axes: tuple[int, ...] = (0, 1), order: tuple[int, ...] = (2, 0, 1)
) -> None:
    """Store a file with another order and direction of its axes, and the right affine."""
    image = nib.load(dataset / name)
    codes = nib.orientations.axcodes2ornt(nib.aff2axcodes(image.affine))
    wanted = np.array([[order[n], -1 if n in axes else 1] for n in range(3)], dtype=float)
    turned = image.as_reoriented(nib.orientations.ornt_transform(codes, wanted))
    save(dataset / name, np.asarray(turned.dataobj), turned.affine)


def test_a_label_in_another_order_of_axes_is_sound(dataset: Path) -> None:
    stored_backwards(dataset, "labelsTr/c1.nii.gz")
    report = check_dataset(open_dataset(dataset), progress=False)
    assert report.findings == []
    assert report.cases[1].labels == {0: 6 * 7 * 8 - 9, 1: 8, 2: 1}


def test_numbers_of_objects_are_one_warning_a_file(dataset: Path) -> None:
    """Say of five numbers in one file, where nothing is declared, that they may count objects."""
    (dataset / "dataset.json").unlink()
    numbers = np.zeros((6, 7, 8), np.uint8)
    numbers[:, 0, 0], numbers[1:, 1, 1] = range(6), [6, 7, 1, 2, 2]
    relabel(dataset, lambda label: numbers)
    findings = check_dataset(open_dataset(dataset), progress=False).findings
    (text,) = [one.message for one in findings if one.code == "W_RARE"]
    assert "values 3, 4, 5, 6, 7 occur in labelsTr/c1.nii.gz only (5 voxels)" in text
    assert "--label_threshold 0" in text


def test_many_findings_of_one_kind_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Show ten of twelve equal faults; the code stands once in a line, the report has all."""
    for number in range(12):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"c{number:02}.nii").write_bytes(b"x")
    assert main(["check", str(tmp_path), "--output", str(tmp_path / "report.json")]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    code = lines[0].split()[1]
    assert len(lines) == 11 and all(line.count(code) == 1 for line in lines)
    assert "2 more: c10, c11" in lines[-1]
    findings = json.loads((tmp_path / "report.json").read_text())["findings"]
    assert len([one for one in findings if one["level"] == "error"]) == 12


def test_what_the_readers_remark_is_a_finding(dataset: Path, make: SimpleNamespace) -> None:
    """Collect the warnings of an image, a label and a DICOM series; none is lost in a thread."""
    image = nib.load(dataset / "imagesTr" / "c0.nii.gz")
    image.header.set_qform(shifted(5), code=1)
    nib.save(image, dataset / "imagesTr" / "c0.nii.gz")
    label = dataset / "labelsTr" / "c1.nii.gz"
    label.write_bytes(gzip.decompress(label.read_bytes()))
    make.series(
        dataset / "imagesTr" / "series",
        edit=lambda data, _: setattr(data, "PhotometricInterpretation", "MONOCHROME1"),
    )
    (dataset / "dataset.json").unlink()
    findings = check_dataset(open_dataset(dataset), progress=False).findings
    found = {(f.level, f.code, f.case) for f in findings if f.code != "W_UNLIKE"}
    assert found == {
        ("warning", "W_ORIENT", "c0"),
        ("warning", "W_NAME", "c1"),
        ("warning", "W_MONOCHROME1", "series"),
    }
    texts = {finding.code: finding.message for finding in findings}
    assert "c0.nii.gz: qform and sform differ" in texts["W_ORIENT"]


def test_the_same_scan_in_another_order_of_axes_is_a_double(dataset: Path) -> None:
    name = "imagesTr/c4.nii.gz"
    shutil.copy(dataset / "imagesTr" / "c1.nii.gz", dataset / name)
    stored_backwards(dataset, name)
    found = check_dataset(open_dataset(dataset), progress=False).findings
    assert [(finding.code, finding.case) for finding in found] == [("W_DOUBLE", "c1")]
