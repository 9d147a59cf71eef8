"""From measurements to settings that a bundle can train with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.fingerprint import Fingerprint, extract_fingerprint
from monai_semiseg.datasets.patches import patch_size, target_spacing
from monai_semiseg.datasets.plan import Wishes, decisions, plan, write_plan
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.volume import RGB


def fingerprint(
    modality: str = "MRI", shape: tuple[int, ...] = (35, 50, 36), spacing: float = 1.0
) -> Fingerprint:
    return Fingerprint(
        modality,
        np.full((5, 3), spacing),
        np.tile(shape, (5, 1)),
        np.tile([0.0, 50, 100], (5, 1, 1)),
        ((-50.0, 40.0, 200.0),),
        {0: "background", 1: "a", 2: "b"},
        {},
    )


@pytest.mark.parametrize("seed", range(20))
def test_patches_can_be_trained(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.uniform(3, 400, 3)
    limit = int(rng.integers(40**3, 160**3))
    patch = patch_size(shape, 8, limit)
    assert all(side % 8 == 0 and side >= 16 for side in patch) and max(patch) >= 32
    assert np.prod(patch) <= limit or max(patch) == 32
    if np.prod(np.maximum(32, np.ceil(shape / 8) * 8)) <= limit:
        assert all(side >= size for side, size in zip(patch, shape, strict=True))


def test_hippocampus_is_trained_whole() -> None:
    settings = plan(fingerprint(), memory=8 << 30)
    assert (
        settings["patch_size"] == [40, 56, 40]
        and settings["batch_size"] == 2
        and settings["out_channels"] == 3
    )


def test_little_memory_gives_small_patches() -> None:
    small = plan(fingerprint(shape=(512, 512, 300)), memory=1 << 30)
    assert np.prod(small["patch_size"]) * 1200 <= 1 << 30


def test_thick_slices_keep_a_finer_axis() -> None:
    spacings = np.array([[1.0, 1.0, z] for z in (2.5, 5, 5, 6, 6)])
    assert target_spacing(spacings).tolist() == [1.0, 1.0, 3.5]
    assert target_spacing(np.array([[1.0, 1.0, 2.0]] * 3)).tolist() == [1.0, 1.0, 2.0]


def test_ct_keeps_its_scale_and_mr_does_not() -> None:
    assert plan(fingerprint("CT"))["intensity"]["a_min"] == -50
    assert (
        plan(fingerprint("MRI"))["intensity"]["transforms"][1]["_target_"] == "NormalizeIntensityd"
    )


def test_yaml_is_what_was_planned(tmp_path: Path) -> None:
    settings = plan(fingerprint())
    assert (
        yaml.safe_load(write_plan(settings, tmp_path / "p.yaml", source="x").read_text())
        == settings
    )


def test_measuring_leaves_held_back_scans_alone(make: SimpleNamespace, tmp_path: Path) -> None:
    """Test and validation scans, and labels of unlabelled ones, are not even opened."""
    (tmp_path / "labels").mkdir()
    for n, size in enumerate((1.0, 2.0, 9.0, 9.0)):
        make.nifti(tmp_path / "images" / f"{n}.nii", np.diag([size, size, size, 1.0]))
        label = nib.Nifti1Image(np.ones((7, 6, 5), np.uint8), np.diag([size, size, size, 1.0]))
        nib.save(label, tmp_path / "labels" / f"{n}.nii")
    (tmp_path / "labels" / "1.nii").write_bytes(b"broken")
    pairs = [{"image": f"images/{n}.nii", "label": f"labels/{n}.nii"} for n in range(4)]
    datalist = {
        "training": pairs[:1],
        "unlabeled": [{"image": "images/1.nii"}],
        "validation": pairs[2:3],
        "test": pairs[3:],
    }
    found = extract_fingerprint(open_dataset(tmp_path), datalist, progress=False)
    assert found.spacings.tolist() == [[1, 1, 1], [2, 2, 2]] and found.unread == {}


def test_volumes_of_the_labelled_training_scans(make: SimpleNamespace, tmp_path: Path) -> None:
    """Check that voxels of 2 x 2 x 2 mm are 0.008 mL; held-back labels are not looked at."""
    counts = {"a": (10, 4), "b": (30, 0), "held_back": (60, 60)}
    for name, (first, second) in counts.items():
        label = np.zeros((7, 6, 5), np.uint8)
        label.flat[:first] = 1
        label.flat[first : first + second] = 2
        make.nifti(tmp_path / "images" / f"{name}.nii", np.diag([2.0, 2.0, 2.0, 1.0]))
        nib.save(
            nib.Nifti1Image(label, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / f"{name}_label.nii"
        )
    make.nifti(tmp_path / "images" / "free.nii")
    pairs = {n: {"image": f"images/{n}.nii", "label": f"{n}_label.nii"} for n in counts}
    datalist = {
        "training": [pairs["a"], pairs["b"]],
        "unlabeled": [{"image": "images/free.nii"}],
        "test": [pairs["held_back"]],
    }
    found = extract_fingerprint(open_dataset(tmp_path), datalist, progress=False)
    assert found.volumes_ml == {
        "label_1": pytest.approx((0.08, 0.24)),
        "label_2": pytest.approx((0.0, 0.032)),
    }
    planned = plan(found)["training_scans"]["volume_ml"]
    assert planned == {"label_1": [0.08, 0.24], "label_2": [0.0, 0.032]}
    assert plan(fingerprint())["training_scans"]["volume_ml"] == {}


def test_axes_are_anatomical(make: SimpleNamespace, tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 2.5], [-1.5, 0, 0], [0, 2.0, 0]])  # stored P, S, R
    make.nifti(tmp_path / "images" / "a.nii", affine)
    found = extract_fingerprint(open_dataset(tmp_path), progress=False)
    assert found.spacings.tolist() == [[2.5, 1.5, 2.0]] and found.shapes.tolist() == [[5, 7, 6]]


def test_unreadable_scans_are_left_out_and_named(make: SimpleNamespace, tmp_path: Path) -> None:
    make.nifti(tmp_path / "images" / "a.nii")
    (tmp_path / "images" / "b.nii").write_bytes(b"")
    found = extract_fingerprint(open_dataset(tmp_path), progress=False)
    assert len(found.spacings) == 1 and list(found.unread) == ["b"]
    (tmp_path / "images" / "a.nii").unlink()
    with pytest.raises(ConfigError, match="no scan can be read"):
        extract_fingerprint(open_dataset(tmp_path), progress=False)


def measured(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    channels: tuple[str, ...] = ("image",),
    **more: Any,
) -> Fingerprint:
    """Return the measurements of five equal images."""
    return Fingerprint(
        more.pop("modality", "MRI"),
        np.tile(spacing, (5, 1)),
        np.tile(shape, (5, 1)),
        np.tile([0.0, 50, 100], (5, len(channels), 1)),
        tuple((-50.0 - n, 40.0, 200.0 + n) for n in range(len(channels))),
        {0: "background", 1: "a"},
        {},
        channel_names=channels,
        **more,
    )


def test_photographs_get_a_2d_network_and_are_turned_freely() -> None:
    found = measured((200, 150), (1.0, 1.0), RGB, unit="px", mean=120.0, std=40.0)
    settings = plan(found, memory=8 << 30)
    assert settings["spatial_dims"] == 2 and not settings["slices"]
    assert settings["in_channels"] == 3 and settings["channel_names"] == list(RGB)
    assert any("one mean and deviation" in line for line in decisions(found))
    assert settings["spacing"] == [1.0, 1.0] and settings["patch_size"] == [200, 152]
    assert settings["batch_size"] == 8
    assert settings["rotation"] == pytest.approx(np.pi, abs=1e-3)
    assert settings["colour_jitter"] > 0 and settings["flip_front_back"] == 0.5
    assert settings["training_scans"]["unit"] == "px"
    assert settings["intensity"] == {
        "_target_": "NormalizeIntensityd",
        "keys": "image",
        "subtrahend": 120.0,
        "divisor": 40.0,
    }
    said = decisions(found)
    assert not any("CT" in line for line in said) and any("colours" in line for line in said)
    upright = plan(found, Wishes(upright=True), memory=8 << 30)
    assert upright["rotation"] == 0.35 and upright["flip_front_back"] == 0.15
    with pytest.raises(ConfigError, match="3 for 2-D images"):
        plan(found, Wishes(spatial_dims=3))


def test_large_photographs_are_made_smaller() -> None:
    settings = plan(measured((4000, 3000), (1.0, 1.0), RGB, unit="px"), memory=8 << 30)
    factor = settings["spacing"][0]
    assert 4000 * 3000 / factor**2 == pytest.approx(512 * 512, rel=1e-3)
    assert np.prod(settings["patch_size"]) <= 256 * 256


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_are_segmented_one_by_one(axis: int) -> None:
    shape, spacing = [100, 100, 100], [1.0, 1.0, 1.0]
    shape[axis], spacing[axis] = 12, 5.0
    found = measured(tuple(shape), tuple(spacing))
    settings = plan(found, memory=8 << 30)
    assert settings["spatial_dims"] == 2 and settings["slices"]
    assert settings["slice_axis"] == axis and settings["spacing"][axis] == -1
    assert settings["patch_size"] == [104, 104]
    assert bool(settings["mirror_axes"]) == (axis != 0), "sagittal slices have no left and right"
    assert any("5.0 times as thick" in line for line in decisions(found))
    cubes = plan(found, Wishes(spatial_dims=3), memory=8 << 30)
    assert cubes["spatial_dims"] == 3 and len(cubes["patch_size"]) == 3
    assert plan(measured((50, 50, 50), (1.0, 1.0, 2.0)))["spatial_dims"] == 3
    asked = plan(measured((50, 50, 50), (1.0, 1.0, 1.0)), Wishes(spatial_dims=2))
    assert asked["slices"] and asked["slice_axis"] == 2


def test_every_channel_is_normalised_as_its_modality() -> None:
    image = torch.rand(2, 9, 8, 7) * 400 - 100
    both = plan(measured((9, 8, 7), (1.0, 1.0, 1.0), ("CT", "PET")))["intensity"]
    out = ConfigParser({"it": both}).get_parsed_content("it")({"image": image})["image"]
    window = ((image[0] + 50) / 250 * 2 - 1).clamp(-1, 1)
    assert torch.allclose(out[0], window, atol=1e-5)
    low, high = np.percentile(image[1].numpy(), (0.5, 99.5))
    clipped = (image[1].clip(low, high) - low) / (high - low)
    assert torch.allclose(out[1], (clipped - clipped.mean()) / clipped.std(correction=0), atol=1e-4)
    contrasts = plan(measured((9, 8, 7), (1.0, 1.0, 1.0), ("T1", "T2")))["intensity"]
    out = ConfigParser({"it": contrasts}).get_parsed_content("it")({"image": image})["image"]
    assert torch.allclose(out.mean((1, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(out.std((1, 2, 3)), torch.ones(2), atol=1e-2)
