"""A label lies on its image's voxels in any order of axes, or is refused with the distance."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from monai_semiseg.errors import GeometryError, InputError
from monai_semiseg.images.grid import Grid, axes_onto, in_ras_order, onto_grid
from monai_semiseg.images.scan import read_grid, read_scan
from tests.runner_builders import orientations, rotation

SHAPE = (5, 6, 7)
ORDERS = orientations()


def oblique() -> NDArray[np.float64]:
    """Return an anisotropic affine, rotated about two axes, far from the origin."""
    turn = rotation(0.4, -0.3)
    return nib.affines.from_matvec(turn @ np.diag([0.8, 1.0, 2.5]), [-90.0, 120.0, 33.0])


IMAGE = Grid(SHAPE, oblique())


def reordered(grid: Grid, order: NDArray[np.float64]) -> Grid:
    """Return the grid of the same voxels with another order and direction of the axes."""
    shape = tuple(grid.shape[axis] for axis in np.argsort(order[:, 0]))
    return Grid(shape, grid.affine @ nib.orientations.inv_ornt_aff(order, grid.shape))


def coordinates(grid: Grid) -> NDArray[np.float64]:
    """Return the coordinates of every voxel, ``(i, j, k, 3)``, one by one."""
    points = np.array([grid.affine @ [*index, 1.0] for index in np.ndindex(*grid.shape)])
    return points[:, :3].reshape(*grid.shape, 3)


@pytest.mark.parametrize("number", range(48))
def test_every_order_of_axes_is_found(number: int) -> None:
    """Use coordinates as voxels of the label, and expect the coordinates of the image."""
    label = reordered(IMAGE, ORDERS[number])
    found = onto_grid(coordinates(label), label, IMAGE)
    assert np.allclose(found, coordinates(IMAGE), atol=1e-9)
    assert found.flags["C_CONTIGUOUS"]


def test_one_grid_is_left_as_it_is() -> None:
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    assert np.shares_memory(onto_grid(voxels, IMAGE, IMAGE), voxels)


def moved(offset: tuple[float, float, float]) -> Grid:
    return Grid(SHAPE, nib.affines.from_matvec(np.eye(3), offset) @ IMAGE.affine)


@pytest.mark.parametrize("order", [0, 5, 29])
def test_a_shift_is_refused_in_mm(order: int) -> None:
    label = reordered(moved((0.0, 3.0, 0.0)), ORDERS[order])
    with pytest.raises(GeometryError, match=r"3 mm off the image") as caught:
        axes_onto(label, IMAGE, Path("some/label.nii.gz"))
    assert "some/label.nii.gz" in str(caught.value) and "resample" in caught.value.remedy
    assert "voxels of" not in str(caught.value), "they have the same voxels"


def test_a_thousandth_of_a_voxel_is_the_limit() -> None:
    along = IMAGE.affine[:3, 2]  # 2.5 mm
    axes_onto(moved(tuple(0.9e-3 * along)), IMAGE)
    with pytest.raises(GeometryError):
        axes_onto(moved(tuple(1.1e-3 * along)), IMAGE)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (Grid((5, 6, 8), IMAGE.affine), "5x6x8 voxels"),
        (Grid(SHAPE, IMAGE.affine @ np.diag([1, 1, 1.01, 1])), "0.8 x 1 x 2.525 mm"),
        (Grid(SHAPE, np.diag([0.8, 1.0, 2.5, 1.0])), "mm off"),
        (Grid((10, 6, 7), IMAGE.affine @ np.diag([0.5, 1, 1, 1])), "0.4 x 1 x 2.5 mm"),
    ],
    ids=["one slice more", "other spacing", "turned", "half the voxel size"],
)
def test_other_grids_are_refused(label: Grid, words: str) -> None:
    with pytest.raises(GeometryError, match=words) as caught:
        axes_onto(label, IMAGE)
    corners = [
        np.array(list(itertools.product(*((0, n - 1) for n in grid.shape)))) @ grid.affine[:3, :3].T
        + grid.affine[:3, 3]
        for grid in (label, IMAGE)
    ]
    distance = np.linalg.norm(corners[0] - corners[1], axis=1).max()
    assert f"up to {distance:.3g} mm" in str(caught.value)


def test_ras_order_is_one_for_all() -> None:
    voxels = np.random.default_rng(0).normal(size=SHAPE)
    expected = in_ras_order(voxels, IMAGE.affine)
    for order in ORDERS:
        stored = nib.orientations.apply_orientation(voxels, order)
        affine = reordered(IMAGE, order).affine
        assert np.array_equal(in_ras_order(stored, affine), expected)


@pytest.mark.parametrize("kind", ["nifti", "zipped", "dicom", "file of dicom", "nrrd", "enhanced"])
def test_the_header_says_what_the_whole_file_says(
    kind: str, make: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "scan"
    if kind == "dicom":
        make.series(path, orientation=(0, 1, 0, 0, 0, -1))
    elif kind == "file of dicom":
        path = make.series(tmp_path / "x", count=1)[0]
    elif kind == "enhanced":
        make.enhanced(path / "a.dcm")
    elif kind == "nrrd":
        path = path.with_suffix(".nrrd")
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.float32)), path)
    else:
        path = make.nifti(tmp_path / ("a.nii.gz" if kind == "zipped" else "a.nii"), oblique())
    found = read_grid(path)
    whole = read_scan(path).grid
    assert found.shape == whole.shape
    assert np.array_equal(found.affine, whole.affine)


@pytest.mark.parametrize("content", [b"", b"no scan", b"\x1f\x8bno gzip", None])
def test_what_has_no_grid_is_a_typed_error(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii\.gz"):
        read_grid(path)
