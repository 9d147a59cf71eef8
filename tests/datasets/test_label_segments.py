"""Segmentations of 3D Slicer as labels: their names decide, whatever number a file gives them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_rules import LabelRule
from monai_semiseg.datasets.label_segments import numbers_of_segments
from monai_semiseg.errors import LabelError

GRID = np.diag([-1.0, -1.0, 1.0, 1.0])  # of an NRRD file without a direction, in RAS


def save(path: Path, label: np.ndarray, names: list[str]) -> Path:
    """Write a map (i, j, k) whose segment ``names[n]`` has the number n + 1."""
    path.parent.mkdir(exist_ok=True, parents=True)
    image = sitk.GetImageFromArray(label.astype(np.uint8).transpose(2, 1, 0))
    for number, name in enumerate(names):
        fields = {"ID": f"S{number}", "Name": name, "LabelValue": str(number + 1), "Layer": "0"}
        for key, text in fields.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    sitk.WriteImage(image, str(path))
    return path


def blocks() -> np.ndarray:
    label = np.zeros((8, 7, 6), int)
    label[1:4, 1:5, 1:5] = 1
    label[5:7, 2:6, 2:5] = 2
    return label


@pytest.mark.parametrize(
    ("found", "labels", "numbers"),
    [
        ([{"a": 1, "b": 2}, {"b": 2}], {}, {"a": 1, "b": 2}),
        ([{"a": 5}], {}, {"a": 5}),
        ([{"a": 1, "b": 2}, {"b": 1}], {}, {"a": 1, "b": 2}),
        ([{"x": 1}, {"b": 1}], {}, {"b": 1, "x": 2}),
        ([{"A ": 1, "c": 2}], {0: "background", 7: "a", 9: "b"}, {"A ": 7}),
    ],
)
def test_numbers_of_names(
    found: list[dict[str, int]], labels: dict[int, str], numbers: dict[str, int]
) -> None:
    assert numbers_of_segments(found, labels) == numbers


def test_a_file_keeps_its_numbers_or_gets_those_of_the_names(tmp_path: Path) -> None:
    file = save(tmp_path / "a.seg.nrrd", blocks(), ["vein", "artery"])
    assert np.array_equal(read_label(file).array, blocks())
    rule = LabelRule(numbers={"artery": 3, "vein": 8})
    assert np.array_equal(read_label(file, rule).array, np.array([0, 8, 3])[blocks()])
    with pytest.raises(LabelError, match="undeclared segments vein; declared are artery"):
        read_label(file, LabelRule(numbers={"artery": 3}))


def test_through_check_and_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Read segments by name: their order differs from file to file, as in 3D Slicer."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    for case in range(4):
        image = np.random.default_rng(case).normal(size=blocks().shape).astype(np.float32)
        nib.save(nib.Nifti1Image(image, GRID), data / "images" / f"c{case}.nii")
        names, label = ["vein", "artery"], blocks()
        if case % 2:
            names, label = names[::-1], np.array([0, 2, 1])[label]
        save(data / "labels" / f"c{case}.seg.nrrd", label, names)
    assert main(["check", str(data)]) == 0, capsys.readouterr().out
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    total = blocks().size
    for number, name, voxels in ((1, "artery", 24), (2, "vein", 48)):
        share = f"{voxels / total:.3%}"
        assert ["label", str(number), name, share] in [line[:4] for line in lines]
    file = tmp_path / "datalist.json"
    assert main(["split", str(data), "--labelled", "2", "--output", str(file)]) == 0
    content = json.loads(file.read_text())
    assert content["labels"] == {"0": "background", "1": "artery", "2": "vein"}
    assert content["label_rule"] == {"numbers": {"artery": 1, "vein": 2}}
