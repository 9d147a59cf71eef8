"""Measurements of label maps against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from monai_semiseg.export.measure import flag_outliers, label_sizes, measure_labels, outliers
from monai_semiseg.export.report import CaseResult

NAMES = {0: "background", 1: "a", 2: "b", 3: "c"}


def test_labels() -> None:
    mask = np.zeros((6, 7, 8), np.uint8)
    mask[1:3, 2:5, 3] = 1  # 6 voxels
    mask[5, 6, 7] = 1
    mask[0, 0, 0] = 2
    mask[1, 1, 1] = 2  # corners connect
    found = measure_labels(mask, NAMES)
    assert found == {
        "a": {"box": [[1, 2, 3], [5, 6, 7]], "largest_share": round(6 / 7, 4)},
        "b": {"box": [[0, 0, 0], [1, 1, 1]], "largest_share": 1.0},
    }
    assert measure_labels(np.zeros((2, 2, 2), np.uint8), NAMES) == {}


def test_volumes() -> None:
    mask = np.array([[[0, 1], [1, 3]], [[3, 3], [0, 0]]])
    affine = np.array(
        [[0, -2.0, 0, 5], [0.5, 0, 0, 5], [0, 0, 3.0, 5], [0, 0, 0, 1]]
    )  # voxels of 3 mm^3
    assert dict(label_sizes(mask, affine, NAMES)) == pytest.approx(
        {"a": 0.006, "b": 0.0, "c": 0.009}
    )


def result(name: str, ml: float, status: str = "done") -> CaseResult:
    volumes = {"a": ml} if status == "done" else {}
    return CaseResult(name, status, volumes_ml=volumes)  # type: ignore[arg-type]


def test_outliers() -> None:
    usual = [result(f"s{n}", 3.0 + 0.1 * (n % 4)) for n in range(10)]
    assert outliers(usual) == {}
    found = outliers([*usual, result("far", 9.0), result("none", 0.0), result("bad", 0, "failed")])
    assert set(found) == {"far", "none"} and found["far"] == ["a 9.00 mL, the run's median 3.10 mL"]
    assert outliers([*usual[:3], result("far", 9.0)]) == {}  # too few to say
    assert outliers([result(f"s{n}", 3.0) for n in range(10)]) == {}


def test_outliers_are_flagged_with_their_sentence() -> None:
    usual = [result(f"s{n}", 3.0 + 0.1 * (n % 4)) for n in range(10)]
    far = CaseResult("far", "done", reason="a remark", volumes_ml={"a": 9.0}, flags=["voxel_size"])
    *others, found = flag_outliers([*usual, far])
    assert others == usual
    assert found.flags == ["voxel_size", "volume_outlier"]
    assert found.reason == "a remark; a 9.00 mL, the run's median 3.10 mL"
    assert far.flags == ["voxel_size"]
