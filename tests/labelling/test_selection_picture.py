"""Show every kind of image in the picture, whatever the names are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.labelling.selection import select
from monai_semiseg.labelling.selection_picture import draw_selection, thumbnail
from tests.labelling.selection_builders import save


def test_a_scan_lies_as_in_a_viewer(tmp_path: Path) -> None:
    """Show the patient's right on the left, anterior up, and thick slices not squeezed."""
    voxels = np.random.default_rng(0).normal(size=(12, 16, 6))
    voxels[9:, 12:, 3] = 50  # the left anterior corner
    save(tmp_path / "images" / "a.nii.gz", voxels, np.diag([-1.0, 1.0, 3.0, 1.0]))
    dataset = open_dataset(tmp_path)
    pixels = thumbnail(dataset, dataset.cases[0])
    assert pixels.shape == (128, 96)
    assert pixels[:24, 80:].min() > pixels[40:, :60].max()


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_photographs_and_hostile_names(tmp_path: Path, colour: bool) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in ("a", "$x_{", "c" * 40, "<b>"):
        pixels = rng.integers(0, 255, (20, 30, 3) if colour else (20, 30), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    dataset = open_dataset(tmp_path)
    selection = select(dataset, 3, strategy="kmedoids", progress=False)
    first = draw_selection(selection, dataset, tmp_path / "map.png").read_bytes()
    assert first == draw_selection(selection, dataset, tmp_path / "map.png").read_bytes()
    assert thumbnail(dataset, dataset.cases[0]).shape == ((85, 128, 3) if colour else (85, 128))
