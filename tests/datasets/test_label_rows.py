"""Every kind of label file through check, split, plan, training's transforms and the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from scipy.ndimage import gaussian_filter

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.label_values import in_file_numbers
from monai_semiseg.transforms.labels import CheckLabeld, CheckReferenceLabeld

READER = "monai_semiseg.datasets.label_files.LabelReader"


def truth(case: int) -> np.ndarray:
    """Return a map of 0, 1, 2."""
    label = np.zeros((12, 10, 8), np.uint8)
    label[2:6, 2:7, 2:6] = 1
    label[7:10, 3 + case % 3 :, 3:] = 2
    return label


def write(root: Path, parts: dict[str, Callable[[np.ndarray], np.ndarray]]) -> Path:
    """Write five scans, each with a label file for every suffix."""
    rng = np.random.default_rng(0)
    entries = []
    for case in range(5):
        label = truth(case)
        arrays = {f"images/c{case}.nii": rng.normal(size=label.shape).astype(np.float32)}
        files = {f"labels/c{case}{suffix}.nii": of(label) for suffix, of in parts.items()}
        for name, array in {**arrays, **files}.items():
            (root / name).parent.mkdir(exist_ok=True, parents=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), root / name)
        label_files = list(files) if len(files) > 1 else next(iter(files))
        entries.append({"image": next(iter(arrays)), "label": label_files})
    (root / "dataset.json").write_text(json.dumps({"training": entries, "labels": {}}))
    return root


def declare(root: Path, labels: dict[str, Any]) -> None:
    file = root / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "labels": labels}))


def smooth(label: np.ndarray) -> np.ndarray:
    return np.rint(gaussian_filter((label == 1) * 255.0, 0.8)).astype(np.uint8)


Row = tuple[dict[str, Any], dict[str, Any], list[str], list[int], Callable[[np.ndarray], Any]]
ROWS: dict[str, Row] = {
    "integers": ({"": lambda x: x}, {}, [], [0, 1, 2], lambda x: x),
    "gaps": ({"": lambda x: x * 3}, {}, [], [0, 3, 6], lambda x: x * 3),
    "0 and 255": (
        {"": lambda x: (x > 0) * np.uint8(255)},
        {},
        [],
        [0, 255],
        lambda x: (x > 0) * 255,
    ),
    "floats": ({"": lambda x: x * np.float32(2)}, {}, [], [0, 2, 4], lambda x: x * 2),
    "negative background": (
        {"": lambda x: x.astype(np.int16) - 1},
        {"-1": "background", "0": "a", "1": "b"},
        [],
        [-1, 0, 1],
        lambda x: x.astype(int) - 1,
    ),
    "negative float background": (
        {"": lambda x: np.where(x == 0, -1, x.astype(int)).astype(np.float32)},
        {"background": -1, "a": 1, "b": 2},
        [],
        [-1, 1, 2],
        lambda x: np.where(x == 0, -1, x.astype(int)),
    ),
    "grey levels": (
        {"": smooth},
        {},
        ["--label_threshold", "127"],
        [0, 1],
        lambda x: smooth(x) > 127,
    ),
    "grey levels, declared": (
        {"": smooth},
        {"0": "background", "255": "lesion"},
        ["--label_threshold", "100"],
        [0, 255],
        lambda x: (smooth(x) > 100) * 255,
    ),
    "several files": (
        {
            "_b1": lambda x: ((x == 1) * 255).astype(np.uint8),
            "_a": lambda x: (x == 2).astype(np.uint8),
            "_b2": lambda x: np.roll((x == 1) * np.uint8(255), -2, 0),
        },
        {},
        ["--merge_masks"],
        [0, 1, 2],
        lambda x: np.select([(x == 1) | np.roll(x == 1, -2, 0), x == 2], [2, 1]),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_road(row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compare with the numbers computed from the arrays that were written."""
    parts, declared, options, values, right = ROWS[row]
    data = write(tmp_path / "data", parts)
    declare(data, declared)
    datalist, plan = tmp_path / "datalist.json", tmp_path / "plan.yaml"
    assert main(["check", str(data), *options]) == 0, capsys.readouterr().out
    split = ["split", str(data), "--labelled", "4", "--test", "1", *options]
    assert main([*split, "--output", str(datalist)]) == 0, capsys.readouterr().err
    assert main(["plan", str(data), "--datalist", str(datalist), "--output", str(plan)]) == 0
    planned = yaml.safe_load(plan.read_text())
    assert planned["label_values"] == values and planned["out_channels"] == len(values)

    content = json.loads(datalist.read_text())
    [entry] = content["test"]
    files = entry["label"] if isinstance(entry["label"], list) else [entry["label"]]
    expected = np.asarray(right(truth(int(Path(entry["image"]).name[1])))).astype(int)
    load = [
        LoadImaged("label", reader=READER, datalist=str(datalist)),
        EnsureChannelFirstd("label"),
    ]
    train = Compose([*load, CheckLabeld("label", len(values), values, str(datalist))])
    reference = Compose([*load, CheckReferenceLabeld("label", values, str(datalist))])
    item = {"label": [str(data / file) for file in files]}
    classes = np.asarray(train(item)["label"][0]).astype(int)
    assert np.array_equal(classes, np.searchsorted(values, expected))
    assert np.array_equal(np.asarray(reference(item)["label"][0]), expected)
    written = in_file_numbers(classes, values)
    assert np.array_equal(written, expected), "masks have the numbers of the files"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("grey levels", "--label_threshold 127"),
        ("grey levels, declared", "--label_threshold 127"),
        ("several files", "--merge_masks"),
    ],
)
def test_without_the_option(
    row: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check that each verb refuses, with what to do; nothing is written."""
    parts, declared, *_ = ROWS[row]
    data = write(tmp_path / "data", parts)
    declare(data, declared)
    assert main(["check", str(data)]) == 2
    assert words in capsys.readouterr().out
    output = ["--output", str(tmp_path / "output")]
    for verb in (["plan"], ["split", "--labelled", "2"]):
        assert main([*verb, str(data), *output]) == 2
        assert words in capsys.readouterr().err and not (tmp_path / "output").exists()


def test_an_overlap_fails_its_case_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "data", ROWS["several files"][0])
    file = data / "labels" / "c3_a.nii"
    nib.save(nib.Nifti1Image((truth(3) > 0).astype(np.uint8), np.eye(4)), file)
    assert main(["check", str(data), "--merge_masks"]) == 2
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert len(errors) == 1 and errors[0].split()[2] == "c3"
    ask = ["--merge_masks", "--labelled", "3", "--output", str(tmp_path / "datalist.json")]
    assert main(["split", str(data), *ask]) == 3
    assert "left out: c3: E_LABEL" in capsys.readouterr().err
