"""Masks of photographs that are turned by their EXIF tag, from ``check`` to the training's item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd
from PIL import Image, ImageOps

from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.label_files import LabelReader
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.transforms.grids import LabelOnImageGridd

ROWS, COLUMNS = 20, 28


def write(root: Path, orientation: int, as_shown: bool) -> None:
    """Write a photograph with a tag, and a mask without, in the view or in the file's rows."""
    rng = np.random.default_rng(orientation)
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    mask[3:9, 5:20] = 1
    pixels = rng.integers(0, 60, (ROWS, COLUMNS, 3), np.uint8) + 150 * mask[..., None]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(root / "images" / "a.png", exif=exif)
    shown = ImageOps.exif_transpose(Image.open(root / "images" / "a.png"))
    label = (np.asarray(shown)[..., 0] > 100).astype(np.uint8) if as_shown else mask
    Image.fromarray(label).save(root / "labels" / "a.png")


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_mask_as_a_viewer_shows_it(tmp_path: Path, orientation: int) -> None:
    write(tmp_path, orientation, as_shown=True)
    assert not check_dataset(open_dataset(tmp_path), progress=False).errors
    load = Compose(
        [
            LoadImaged("image", reader=ScanReader()),
            LoadImaged("label", reader=LabelReader()),
            EnsureChannelFirstd(["image", "label"]),
            LabelOnImageGridd("label"),
            Orientationd(["image", "label"], axcodes="RAS", labels=None),
        ]
    )
    item = load({kind: str(tmp_path / f"{kind}s" / "a.png") for kind in ("image", "label")})
    assert np.array_equal(item["image"][0] > 100, item["label"][0] == 1)


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_mask_in_the_rows_of_the_file_does_not_fit(tmp_path: Path, orientation: int) -> None:
    write(tmp_path, orientation, as_shown=False)
    (error,) = check_dataset(open_dataset(tmp_path), progress=False).errors
    assert error.code == "E_GEOMETRY" and "one of them is turned" in error.message
    assert "labels/a.png" in error.message
