"""Labelled scans warped onto others: label and image move alike, onto the target's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from scipy.ndimage import map_coordinates

from monai_semiseg.errors import ConfigError
from monai_semiseg.transforms.registration import as_itk
from monai_semiseg.transforms.warping import WarpOntoScan, pairs_to_warp, warp_classes
from tests.transforms.test_propagation import dice, item, scene


@pytest.mark.parametrize("shape", [(32, 36, 28), (48, 56), (48, 56, 1)], ids=str)
def test_the_warped_label_fits_the_target(shape: tuple[int, ...]) -> None:
    """Compare with the target's own label, which the transform never sees."""
    kept = tuple(size for size in shape if size > 1)
    (image, label), (other, truth) = (
        [array.reshape(shape) for array in scene(kept, 4.0, seed)] for seed in (1, 7)
    )
    labelled, target = item(image, label), item(other)
    out = WarpOntoScan([labelled], [target])({"labelled": 0, "target": 0})
    assert out["image"].shape == out["label"].shape == (1, *shape)
    assert out["label"].dtype == labelled["label"].dtype
    assert dice(np.asarray(out["label"][0]), truth) > max(0.9, dice(label, truth) + 0.05)
    inner = (0, *(slice(4, -4) if size > 1 else 0 for size in shape))  # off the moved border
    before, after = (
        float(((one["image"] - target["image"])[inner] ** 2).mean()) for one in (labelled, out)
    )
    assert after < 0.2 * before
    assert torch.equal(labelled["image"], item(image)["image"])  # the scan itself is kept


def test_every_channel_and_the_padding_follow() -> None:
    """Warp two channels onto a target with padding: one field for both, zeros outside."""
    image, label = scene((32, 36), 4.0, 1)
    other, _ = scene((32, 36), 4.0, 7)
    both = np.stack([image, 2 * image + 1])
    labelled = {"image": torch.from_numpy(both), "label": torch.from_numpy(label)[None]}
    padded = np.zeros((1, 40, 40), np.float32)
    padded[0, 5:37, 2:38] = other
    out = WarpOntoScan([labelled], [{"image": torch.from_numpy(padded)}])(
        {"labelled": 0, "target": 0}
    )
    inside = out["image"][:, 5:37, 2:38]
    torch.testing.assert_close(inside[1], 2 * inside[0] + 1, atol=1e-4, rtol=0)
    assert out["image"].shape == (2, 40, 40)
    assert not out["image"][:, :5].any() and not out["label"][..., 38:].any()


def test_a_class_is_the_one_of_the_largest_linear_share() -> None:
    """Compare with an interpolation of each class's mask, at points where one class is ahead."""
    random = np.random.default_rng(0)
    classes = random.integers(-1, 4, (9, 8)).astype(np.float32)
    shift = (0.3, -0.4)
    fixed = as_itk(np.zeros((9, 8), np.float32), [1.0, 1.0])
    found = warp_classes(classes, [1.0, 1.0], fixed, sitk.TranslationTransform(2, shift))
    places = np.stack(np.meshgrid(np.arange(1, 8), np.arange(1, 7), indexing="ij")).astype(float)
    places += np.reshape(shift, (2, 1, 1))
    values = np.unique(classes)
    shares = np.stack([map_coordinates(1.0 * (classes == v), places, order=1) for v in values])
    ahead = np.diff(np.sort(shares, axis=0)[-2:], axis=0)[0] > 1e-6
    assert ahead.mean() > 0.8
    assert np.array_equal(found[1:8, 1:7][ahead], values[shares.argmax(0)][ahead])


def test_what_cannot_be_registered_is_returned_as_it_is() -> None:
    image, label = scene((16, 16, 12), 1.0, 1)
    labelled = item(image, label)
    nothing: dict[str, Any] = {"image": MetaTensor(torch.zeros(1, 16, 16, 12))}
    out = WarpOntoScan([labelled], [nothing])({"labelled": 0, "target": 0})
    assert torch.equal(out["image"], labelled["image"])
    assert torch.equal(out["label"], labelled["label"])


def test_pairs() -> None:
    pairs = pairs_to_warp(3, 5, 2, seed=4)
    assert [pair["labelled"] for pair in pairs] == [0, 0, 1, 1, 2, 2]
    assert len({tuple(pair.values()) for pair in pairs}) == 6
    assert pairs_to_warp(2, 5, 2, seed=4) == pairs[:4] != pairs_to_warp(2, 5, 2, seed=5)
    assert len(pairs_to_warp(1, 3, 8)) == 3
    for targets, count, words in ((0, 1, "no scan without a label"), (1, 0, "0 warps")):
        with pytest.raises(ConfigError, match=words):
            pairs_to_warp(1, targets, count)
