"""Labels on the scan's grid: against Invertd, against a loop over voxels, and whatever the slab."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from monai_semiseg.errors import DimensionError
from monai_semiseg.transforms.restore import LabelOnScanGridd, restore
from tests.runner_builders import preprocessing_to, usual_postprocessing

CLASSES = 3


def scan(folder: Path, shape: tuple[int, ...], affine: np.ndarray[Any, Any]) -> str:
    rng = np.random.default_rng(0)
    nib.save(
        nib.Nifti1Image(rng.normal(size=shape).astype(np.float32), affine), folder / "scan.nii"
    )
    return str(folder / "scan.nii")


def logits_for(image: MetaTensor) -> torch.Tensor:
    """Return smooth logits, as from a network."""
    rng = np.random.default_rng(1)
    maps = [20 * gaussian_filter(rng.normal(size=image.shape[1:]), 2) for _ in range(CLASSES)]
    return torch.as_tensor(np.stack(maps), dtype=torch.float32)


def oblique(degrees: float) -> np.ndarray[Any, Any]:
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 1.1, 1.7])
    affine[:3, 3] = (-20.0, 30.0, 5.0)
    return affine


AFFINES = {
    "straight": np.diag([1.0, 1.0, 1.0, 1.0]),
    "coarse": np.diag([-1.3, 0.9, 2.0, 1.0]),
    "permuted": np.array([[0, 0, 1.2, -3], [-0.7, 0, 0, 4], [0, 1.0, 0, 9], [0, 0, 0, 1.0]]),
    "oblique": oblique(
        17
    ),  # against a straight grid, each axis of which then runs across two of the scan's
}


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("spacing", [None, 1.0])
def test_labels_are_invertds(name: str, spacing: float | None, tmp_path: Path) -> None:
    preprocessing = preprocessing_to([spacing] * 3 if spacing else None)
    item = preprocessing({"image": scan(tmp_path, (17, 14, 11), AFFINES[name])})
    item["pred"] = MetaTensor(logits_for(item["image"]), meta=item["image"].meta)
    usual = usual_postprocessing(preprocessing)(dict(item))
    ours = LabelOnScanGridd("pred", slab_mb=0.01)(item)
    same = (ours["pred"].as_tensor() == usual["pred"].as_tensor()).float().mean()
    assert ours["pred"].shape == (1, 17, 14, 11) and ours["pred"].dtype == torch.uint8
    assert (
        float(same) == 1.0 if spacing is None else float(same) > 0.995
    )  # ties within rounding may fall either way
    np.testing.assert_allclose(ours["pred"].affine, AFFINES[name])


def slow(logits: torch.Tensor, grid: Any, native: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Restore labels and entropy voxel by voxel."""
    probability = torch.softmax(logits, 0).double().numpy()
    labels = np.zeros(shape, int)
    entropy = np.zeros(shape)
    for voxel in itertools.product(*map(range, shape)):
        place = (np.linalg.inv(grid) @ native @ np.array([*voxel, 1.0]))[:3]
        if any(p <= -1 or p >= n for p, n in zip(place, logits.shape[1:], strict=True)):
            continue
        place = np.clip(place, 0, np.array(logits.shape[1:]) - 1)
        low = np.floor(place).astype(int)
        value = np.zeros(len(probability))
        for corner in itertools.product((0, 1), repeat=3):
            weight = np.prod([f if c else 1 - f for c, f in zip(corner, place - low, strict=True)])
            if weight:
                value += weight * probability[(slice(None), *(low + corner))]
        labels[voxel] = value.argmax()
        entropy[voxel] = -(value * np.log(value)).sum() / np.log(len(value))
    return labels, entropy


@pytest.mark.parametrize("name", AFFINES)
def test_against_a_loop(name: str) -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(CLASSES, 6, 5, 7)
    shape = (7, 6, 5)
    grid = np.diag([1.1, 0.9, 1.0, 1.0])
    grid[:3, 3] = AFFINES[name][:3, 3] + 0.4
    labels, entropy = restore(logits, grid, AFFINES[name], shape, uncertainty=True)
    expected = slow(logits, grid, AFFINES[name], shape)
    assert (labels.numpy() == expected[0]).mean() > 0.99 and entropy is not None
    np.testing.assert_allclose(entropy.numpy(), expected[1], atol=1e-4)


def test_all_orders_and_flips_are_exact() -> None:
    torch.manual_seed(0)
    logits = torch.randn(CLASSES, 4, 5, 6)
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turned = (
                logits.argmax(0)
                .permute(order)
                .flip([n for n, sign in enumerate(signs) if sign < 0])
            )
            native = np.zeros((4, 4))
            native[3, 3] = 1
            for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
                native[source, axis] = sign
                native[source, 3] = 0 if sign > 0 else turned.shape[axis] - 1
            labels, none = restore(logits, np.eye(4), native, turned.shape)
            assert none is None and torch.equal(labels.long(), turned)


@pytest.mark.parametrize("slab_mb", [1e-6, 0.003, 256])
def test_the_slab_changes_nothing(slab_mb: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(CLASSES, 9, 8, 7)
    whole = restore(logits, np.eye(4), oblique(9), (12, 9, 6), True, 1e3)
    parts = restore(logits, np.eye(4), oblique(9), (12, 9, 6), True, slab_mb)
    assert torch.equal(whole[0], parts[0])
    torch.testing.assert_close(whole[1], parts[1], atol=1e-5, rtol=1e-4)


def test_what_the_grid_does_not_reach_is_background() -> None:
    logits = torch.zeros(2, 4, 4, 4)
    logits[1] = 9
    shifted = np.eye(4)
    shifted[0, 3] = 5  # the network saw voxels 5 to 8 of the scan
    labels, _ = restore(logits, shifted, np.eye(4), (12, 4, 4))
    assert labels[:, 0, 0].tolist() == [0] * 5 + [1] * 4 + [0] * 3


def test_many_classes_and_two_axes() -> None:
    logits = torch.zeros(300, 2, 2, 2)
    logits[299] = 1
    assert restore(logits, np.eye(4), np.eye(4), (2, 2, 2))[0].unique().tolist() == [299]
    with pytest.raises(DimensionError, match="three spatial axes"):
        restore(torch.zeros(2, 4, 4), np.eye(4), np.eye(4), (4, 4))
