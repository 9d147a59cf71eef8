"""Places: whatever random transforms do to a scan, what was known of it is found where its voxels went."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandAffined, RandFlipd, RandRotate90d, RandSpatialCropd
from torch import Tensor

from monai_semiseg.samplers.coordinates import CoordinateDataset, sample_at

SHAPES = {2: (17, 22), 3: (9, 14, 11)}


def item(dims: int, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "image": MetaTensor(torch.randn(2, *SHAPES[dims], generator=generator) + 3),
        "name": f"scan {seed}",
    }


@pytest.mark.parametrize("dims", [2, 3])
def test_items_know_their_number_and_their_voxels(dims: int) -> None:
    items = CoordinateDataset([item(dims, seed) for seed in range(3)])
    assert len(items) == 3 and [items[n]["index"] for n in range(3)] == [0, 1, 2]
    assert items[2]["name"] == "scan 2"
    image = items[1]["image"].as_tensor()
    torch.testing.assert_close(sample_at(image, items[1]["coordinates"]), image)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_flips_turns_and_crops_lose_nothing(dims: int, seed: int) -> None:
    scan = CoordinateDataset([item(dims)])[0]
    keys = ["image", "coordinates"]
    moved = Compose(
        [
            *(RandFlipd(keys, 0.5, axis) for axis in range(dims)),
            RandRotate90d(keys, 0.5),
            RandSpatialCropd(keys, [7] * dims, random_size=False),
        ]
    ).set_random_state(seed)(scan)
    found = sample_at(scan["image"].as_tensor(), moved["coordinates"].as_tensor())
    torch.testing.assert_close(found, moved["image"].as_tensor())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_interpolated_is_right_up_to_the_edge_and_zero_beyond(dims: int, seed: int) -> None:
    """A ramp, which linear interpolation does not blur; beyond the edge both have zeros."""
    scan = CoordinateDataset([item(dims)])[0]
    ramp = scan["coordinates"][:1] + 0.5 * scan["coordinates"][1:2] + 20
    scan["image"] = ramp.clone()
    affine = RandAffined(
        ["image", "coordinates"],
        prob=1,
        rotate_range=[0.5] * (1 if dims == 2 else 3),
        scale_range=[0.3] * dims,
        translate_range=[4] * dims,
        mode="bilinear",
        padding_mode="zeros",
    ).set_random_state(seed)
    moved = affine(scan)
    image = moved["image"].as_tensor()
    coordinates = moved["coordinates"].as_tensor()
    found = sample_at(ramp, coordinates)
    weight = coordinates[-1:]
    inside, outside = weight > 0.5, weight == 0
    assert bool((weight[inside] < 0.99).any()) and bool(outside.any())
    # The image fades to zero where it was interpolated with what is beyond the edge; what is looked
    # up does not.
    torch.testing.assert_close(found[inside], (image / weight)[inside], atol=1e-4, rtol=0)
    assert not found[outside].any()


def test_a_class_map_is_the_one_hot_map_moved() -> None:
    label: Tensor = torch.zeros(3, 10, 12)
    label[1, 2:5, 3:9] = 1
    label[2, 5:8, 3:9] = 1
    scan = CoordinateDataset([{"image": label}])[0]
    moved = RandFlipd(["image", "coordinates"], 1.0, 0)(scan)
    assert torch.equal(
        sample_at(label, torch.as_tensor(moved["coordinates"])).argmax(0), label.flip(1).argmax(0)
    )
