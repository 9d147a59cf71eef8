"""A name may hint at a label map; only voxels make it one."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from monai_semiseg.datasets.label_maps import has_label_name, is_label_map, looks_like_labels

RNG = np.random.default_rng(0)


def atlas() -> NDArray[np.int16]:
    """Return 120 regions in blocks, numbered up to 2035 as in FreeSurfer."""
    numbers = RNG.choice(2035, size=(5, 4, 6), replace=False) + 1
    return np.kron(numbers, np.ones((6, 6, 6))).astype(np.int16)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("derivatives/x/sub-01_dseg.nii.gz", True),
        ("sub-01_dseg.nii.gz", True),
        ("a_mask.nii", True),
        ("a_gt.nii", True),
        ("patient07/lesions.nii.gz", True),
        ("aparc+aseg.nii", True),
        ("patient001_frame01_gt.nii.gz", True),
        ("seg_1.nii.gz", True),
        ("label0001.nii.gz", True),
        ("labelsTr/a.nii", True),
        ("masks/a.nii", True),
        ("manual_masks/a.nii", True),
        ("p1_tumor.nii.gz", True),
        ("p1_labelmap.mha", True),
        ("p1_GTV.nii", True),
        ("sub-01_label-GM_probseg.nii.gz", True),
        ("scan_uncertainty.nii.gz", True),  # what predict writes
        ("mask_study/scan.nii.gz", False),
        ("segovia.nii", False),
        ("a.nii", False),
    ],
)
def test_hints(path: str, hint: bool) -> None:
    assert has_label_name(Path(path)) == hint


@pytest.mark.parametrize(
    ("array", "answer"),
    [
        (np.zeros((9, 9, 9), np.uint8), True),
        (RNG.integers(0, 3, (9, 9, 9)), True),
        (RNG.integers(0, 3, (9, 9, 9)).astype(np.float64), True),
        (atlas(), True),
        (atlas().astype(np.float32), True),
        (RNG.integers(-1000, 3000, (20, 20, 20)), False),
        (RNG.integers(0, 256, (20, 20, 20)).astype(np.uint8), False),
        (RNG.integers(0, 60, (40, 40, 40)).astype(np.uint8), False),
        (RNG.random((9, 9, 9)), False),
        (np.full((9, 9, 9), 0.5), False),
        # A CT padded with -1024 beyond its circle.
        (
            np.where(RNG.random((1, 30, 30)) < 0.9, -1024, RNG.integers(-900, 900, (30, 30, 30))),
            False,
        ),
    ],
)
def test_voxels_decide(array: NDArray[np.float64], answer: bool) -> None:
    assert looks_like_labels(array) == answer


@pytest.mark.parametrize(
    ("name", "scale", "answer"),
    [
        ("p_probseg.nii", 1, True),
        ("p_uncertainty.nii", 1, True),
        ("p_uncertainty.nii", 9, False),
        ("derivatives/p_T1w.nii", 1, False),
        ("p_mask_T1w.nii", 1, False),
    ],
)
def test_maps_of_probabilities(tmp_path: Path, name: str, scale: float, answer: bool) -> None:
    """Check names that say what they are; a scan that was brought to 0 and 1 stays one."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(RNG.random((9, 9, 9)) * scale, np.eye(4)), file)
    assert is_label_map(file) == answer


def test_a_file_that_cannot_be_read_is_no_label_map(tmp_path: Path) -> None:
    (tmp_path / "seg.nii").write_bytes(b"nothing")
    assert not is_label_map(tmp_path / "seg.nii")


def test_a_mask_in_colours_and_a_smooth_photograph() -> None:
    """Tell them apart: a photograph has few values a channel, but thousands of colours."""
    i, j = np.indices((90, 70)) // 3
    photograph = np.stack([2 * i, 2 * j, i + j], axis=-1).astype(np.uint8)[:, :, None]
    assert not looks_like_labels(photograph)
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 255]], np.uint8)
    mask = palette[(i > 10).astype(int) + (j > 9)][:, :, None]
    assert looks_like_labels(mask)
    assert not looks_like_labels(np.random.default_rng(0).normal(size=(9, 8, 7, 4)))
