"""Positions and direction cosines that were written with few decimals."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from monai_semiseg.errors import GapError, GeometryError
from monai_semiseg.images.dicom_volume import stack
from monai_semiseg.images.scan import read_scan


def rounded(data: Dataset, k: int) -> None:
    """Write positions with two decimals and cosines with three."""
    data.ImagePositionPatient = [f"{float(x):.2f}" for x in data.ImagePositionPatient]
    data.ImageOrientationPatient = [f"{float(x):.3f}" for x in data.ImageOrientationPatient]


def cosines(*angles: float) -> tuple[float, ...]:
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return tuple(float(x) for x in (*matrix[:, 0], *matrix[:, 1]))


@pytest.mark.parametrize("gap", [0.15, 0.5, 3.0])
def test_a_rounded_oblique_series_is_read_where_it_lies(
    make: SimpleNamespace, tmp_path: Path, gap: float
) -> None:
    orientation = cosines(11, -8, 23)
    make.series(tmp_path, count=40, gap=gap, orientation=orientation, edit=rounded)
    scan = read_scan(tmp_path)
    make.assert_true(scan, tolerance=1.2)  # 9 per mm, and less than a tenth of a mm off
    axes = scan.affine[:3, :2] / np.linalg.norm(scan.affine[:3, :2], axis=0)
    assert np.abs(axes.T @ axes - np.eye(2)).max() < 1e-9


@pytest.mark.parametrize("gap", [0.5, 4.0])
@pytest.mark.parametrize(("share", "refused"), [(0.04, False), (0.06, True)])
def test_a_slice_distance_may_differ_by_a_twentieth_of_the_others(
    make: SimpleNamespace, tmp_path: Path, gap: float, share: float, refused: bool
) -> None:
    """Move the last slice away by a share of the distance."""

    def edit(data: Dataset, k: int) -> None:
        x, y, z = data.ImagePositionPatient
        data.ImagePositionPatient = [x, y, z + share * gap * (k == 7)]

    make.series(tmp_path, gap=gap, edit=edit)
    with pytest.raises(GapError) if refused else nullcontext():
        read_scan(tmp_path)


@settings(max_examples=100, deadline=None)
@given(angles=st.tuples(*[st.floats(-180, 180)] * 3), decimals=st.integers(3, 8))
@example(angles=(0.0, 0.0011, 0.0011), decimals=5)
def test_rounded_cosines_become_the_nearest_right_angle(
    angles: tuple[float, float, float], decimals: int
) -> None:
    exact = np.array(cosines(*angles))
    orientation = tuple(float(x) for x in np.round(exact, decimals))
    header: Any = SimpleNamespace(
        path=Path("a.dcm"),
        position=(0.0, 0.0, 0.0),
        orientation=orientation,
        spacing=(1.0, 1.0),
        thickness=1.0,
    )
    _, affine = stack([header])
    # Axes that are off by less than 1e-9 stay as they are; their normal has both lengths in it.
    assert np.abs(affine[:3, :3].T @ affine[:3, :3] - np.eye(3)).max() < 3e-9
    assert (
        np.abs(np.diag([-1, -1, 1]) @ affine[:3, :2] - exact.reshape(2, 3).T).max() < 10**-decimals
    )


@pytest.mark.parametrize(
    ("orientation", "words"),
    [
        ([1, 0, 0, 0.02, 0.9998, 0], "1.15 degrees off a right angle"),
        ([1, 0, 0, 0.0, 0.98, 0], "lengths 1.000 and 0.980"),
    ],
)
def test_what_rounding_does_not_explain_is_refused_by_how_much(
    make: SimpleNamespace, tmp_path: Path, orientation: list[float], words: str
) -> None:
    def skewed(data: Dataset, k: int) -> None:
        data.ImageOrientationPatient = orientation

    make.series(tmp_path, edit=skewed)
    with pytest.raises(GeometryError, match=words):
        read_scan(tmp_path)
