"""Slices of volumes as a dataset."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandFlipd

from monai_semiseg.samplers.seeded import SeededSamples
from monai_semiseg.samplers.slices import SliceDataset


def volumes(*depths: int) -> list[dict[str, object]]:
    """Return volumes whose voxels are the number of their scan and slice."""
    items = []
    for scan, depth in enumerate(depths):
        image = torch.stack([torch.full((1, 4, 5), 100.0 * scan + k) for k in range(depth)], dim=-1)
        items.append(
            {"image": MetaTensor(image), "label": (image * 2).numpy(), "name": f"scan{scan}"}
        )
    return items


def test_every_slice_of_every_scan_once() -> None:
    slices = SliceDataset(volumes(3, 1, 2))
    assert len(slices) == 6
    assert [float(slices[n]["image"].unique()) for n in range(6)] == [0, 1, 2, 100, 200, 201]
    for item in (slices[n] for n in range(6)):
        assert item["image"].shape == item["label"].shape == (1, 4, 5)
        assert torch.equal(item["label"], 2 * item["image"])
        assert item["name"] == f"scan{int(item['image'].max() // 100)}"
        assert not isinstance(item["image"], MetaTensor)


@pytest.mark.parametrize("position", [6, -1])
def test_there_is_an_end(position: int) -> None:
    with pytest.raises(IndexError):
        SliceDataset(volumes(3, 1, 2))[position]
    assert len(SliceDataset([])) == 0


def test_two_views_show_the_same_slice() -> None:
    slices = SliceDataset(volumes(3, 4))
    one, two = (
        SeededSamples(slices, Compose([RandFlipd("image", 0.5)]), seed=3, view=view)
        for view in (0, 1)
    )
    assert [float(one[n]["image"].max()) for n in range(14)] == [
        float(two[n]["image"].max()) for n in range(14)
    ]
    assert len({float(one[n]["image"].max()) for n in range(7)}) == 7, "a pass shows every slice"
