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
    return CaseResult(f"{name}.nii", status, name, volumes_ml=volumes)  # type: ignore[arg-type]


def test_outliers() -> None:
    usual = [result(f"s{n}", 3.0 + 0.1 * (n % 4)) for n in range(10)]
    assert outliers(usual) == {}
    found = outliers([*usual, result("far", 9.0), result("none", 0.0), result("bad", 0, "failed")])
    assert set(found) == {"far", "none"} and found["far"] == ["a 9.00 mL, the run's median 3.10 mL"]
    assert outliers([*usual[:3], result("far", 9.0)]) == {}  # too few to say
    assert outliers([result(f"s{n}", 3.0) for n in range(10)]) == {}


def test_outliers_are_flagged_with_their_sentence() -> None:
    usual = [result(f"s{n}", 3.0 + 0.1 * (n % 4)) for n in range(10)]
    far = CaseResult(
        "far.nii", "done", "far", reason="a remark", volumes_ml={"a": 9.0}, flags=["voxel_size"]
    )
    *others, found = flag_outliers([*usual, far])
    assert others == usual
    assert found.flags == ["voxel_size", "volume_outlier"]
    assert found.reason == "a remark; a 9.00 mL, the run's median 3.10 mL"
    assert far.flags == ["voxel_size"]


SLICE = np.array([[0, 1, 1], [2, 1, 0]])
TURNED = np.array([[0, -2.0, 0, 5], [0.5, 0, 0, 5], [0, 0, 7.0, 5], [0, 0, 0, 1]])


@pytest.mark.parametrize(("across", "pixel"), [(0, 2.0 * 7.0), (1, 0.5 * 7.0), (2, 0.5 * 2.0)])
def test_a_slice_has_areas_whatever_its_thickness(across: int, pixel: float) -> None:
    sizes = label_sizes(np.expand_dims(SLICE, across), TURNED, NAMES)
    assert sizes.kind.column == "area_mm2"
    assert dict(sizes) == pytest.approx({"a": 3 * pixel, "b": pixel, "c": 0.0})


def test_a_photograph_has_areas_in_pixels() -> None:
    sizes = label_sizes(SLICE[:, :, None], np.eye(4), NAMES, "px")
    assert (sizes.kind.column, dict(sizes)) == ("area_px", {"a": 3.0, "b": 1.0, "c": 0.0})
    assert sizes.text() == "a 3 px, b 1 px, c 0 px"
    stack = label_sizes(np.stack([SLICE, SLICE], -1), np.eye(4), NAMES, "px")
    assert (stack.kind.column, stack["a"]) == ("voxels", 6.0)


def test_the_mean_of_every_channel() -> None:
    mask = SLICE[:, :, None]
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 1, 3)).astype(np.uint8)
    found = measure_labels(mask, NAMES, image, channels=("red", "green", "blue"))
    for at, name in enumerate(("red", "green", "blue")):
        values = [int(image[i, j, 0, at]) for i, j in ((0, 1), (0, 2), (1, 1))]
        assert found["a"][f"mean_intensity_{name}"] == pytest.approx(sum(values) / 3, abs=1e-4)
    assert "mean_intensity" not in found["a"]


def test_outliers_among_areas_of_one_unit() -> None:
    photographs = [
        CaseResult("p.png", "done", f"p{n}", area_px={"a": 300.0 + n % 4}) for n in range(10)
    ]
    scans = [result(f"s{n}", 3.0 + 0.1 * (n % 4)) for n in range(10)]
    large = CaseResult("large.png", "done", "large", area_px={"a": 900.0})
    assert outliers([*photographs, *scans, large]) == {
        "large": ["a 900 px, the run's median 301 px"]
    }


def test_an_outlier_among_images_of_one_input_is_flagged_alone() -> None:
    """Check that a frame of a cine, or a series of a folder, does not flag all others."""
    frames = [
        CaseResult("cine.dcm", "done", f"cine/frame_{n:04}_seg.png", area_px={"a": 300.0 + n})
        for n in range(10)
    ]
    frames[4] = CaseResult("cine.dcm", "done", "cine/frame_0004_seg.png", area_px={"a": 0.0})
    flagged = flag_outliers(frames)
    assert [one.flags for one in flagged if one.flags] == [["volume_outlier"]]
    assert flagged[4].reason == "a 0 px, the run's median 304 px"
