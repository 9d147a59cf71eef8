"""Partial labels in check, split and plan: voxels called ``ignore``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.fingerprint import extract_fingerprint

SHAPE = (12, 12, 12)


@pytest.fixture(params=[2, 255, -1], ids=str)
def ignore(request: pytest.FixtureRequest) -> int:
    """Return the number of voxels to ignore."""
    return int(request.param)


@pytest.fixture
def data(tmp_path: Path, ignore: int) -> Path:
    """Write scans as nnU-Net lays them out: of the first, four slices are known, of the last none.

    The classes are 1 and 4, beside a number between or above them.
    """
    rng = np.random.default_rng(0)
    for n in range(6):
        label = np.zeros(SHAPE, np.int16)
        label[3:8, 3:8, 3:8] = 1
        label[8:10, 3:8, 3:8] = 4
        image = (rng.normal(size=SHAPE) + 10.0 * (label > 0)).astype(np.float32)
        if n == 0:
            label[:, :, 4:] = ignore
            image[:, :, 4:] = 5000
        if n == 5:
            label[:] = ignore
        for name, array in (("imagesTr/{}_0000", image), ("labelsTr/{}", label)):
            path = tmp_path / "data" / f"{name.format(f'case{n}')}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    content: dict[str, Any] = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "gland": 1, "vessel": 4, "ignore": ignore},
        "numTraining": 6,
        "file_ending": ".nii.gz",
    }
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(content))
    return tmp_path / "data"


def test_check_says_how_much_is_ignored(
    data: Path, ignore: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["check", str(data), "--output", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    assert "6 cases, 5 with a label" in out
    assert f"label {ignore:<5} ignore" in out and "13.333% of the voxels, in 1 of 5" in out
    assert "label values 0, 1, 4 become classes 0, 1, 2" in out
    lines = [line for line in out.splitlines() if "W_IGNORED" in line]
    assert len(lines) == 1 and "case5" in lines[0] and "0 errors" in out
    assert "nothing but voxels to ignore; the case counts as unlabelled" in lines[0]
    cases = json.loads((tmp_path / "r.json").read_text())["cases"]
    assert [case["ignored_voxels"] for case in cases] == [8 * 144, 0, 0, 0, 0, 12**3]
    assert cases[0]["label_voxels"] == {"0": 4 * 144 - 35, "1": 25, "4": 10}


def test_split_takes_a_case_of_nothing_but_ignore_as_unlabelled(
    data: Path, ignore: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "datalist.json"
    ask = ["--labelled", "4", "--test", "1", "--output", str(file)]
    assert main(["split", str(data), *ask]) == 0
    datalist = json.loads(file.read_text())
    assert datalist["unlabeled"] == [{"image": "imagesTr/case5_0000.nii.gz"}]
    assert datalist["labels"][str(ignore)] == "ignore"
    assert {value for part in datalist["label_scans"].values() for value in part} == {"0", "1", "4"}
    err = capsys.readouterr().err
    assert "W_IGNORED" in err and "no training case shows it" not in err


def test_a_plan_has_no_class_for_ignored_voxels(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    assert main(["plan", str(data), "--output", str(file)]) == 0
    planned = yaml.safe_load(file.read_text())
    assert planned["label_values"] == [0, 1, 4] and planned["out_channels"] == 3
    assert planned["label_names"] == {"0": "background", "1": "gland", "4": "vessel"}


def test_statistics_leave_ignored_voxels_out(data: Path) -> None:
    """Check that volumes are those of complete labels; a bright hidden region is not foreground."""
    found = extract_fingerprint(open_dataset(data), progress=False)
    assert found.foreground_percentiles is not None and found.foreground_percentiles[0][2] < 100
    assert found.label_scans == {0: 5, 1: 5, 4: 5}
    assert found.volumes_ml == {
        "gland": pytest.approx((0.125, 0.125)),
        "vessel": pytest.approx((0.05, 0.05)),
    }
