"""PNG masks: label numbers in the raster of the photograph's file, turned by viewers alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from monai_semiseg.errors import ConfigError, UnsupportedError
from monai_semiseg.export.png_mask import exif_orientation, write_png_map, write_png_mask

NAMES = {0: "background", 1: "lesion", 255: "hair"}
MASK = np.arange(12).reshape(4, 3, 1) % 2 * 255


def test_numbers_of_the_labels_row_by_row(tmp_path: Path) -> None:
    picture = Image.open(write_png_mask(MASK, tmp_path / "sub" / "a_seg.png", NAMES))
    assert (picture.mode, picture.size) == ("L", (4, 3)), "columns x rows"
    assert np.array_equal(np.asarray(picture), MASK[:, :, 0].T)


@pytest.mark.parametrize(("highest", "bits"), [(255, np.uint8), (256, np.uint16)])
def test_bits(tmp_path: Path, highest: int, bits: type) -> None:
    mask = np.array([[[0], [highest]]])
    pixels = np.asarray(Image.open(write_png_mask(mask, tmp_path / "a.png", {0: "background"})))
    assert pixels.dtype == bits and pixels.tolist() == [[0], [highest]]
    with pytest.raises(ConfigError, match="65536"):
        write_png_mask(mask * 0 + 65_536, tmp_path / "b.png", NAMES)


def test_a_scan_of_several_slices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="4x3x2"):
        write_png_mask(np.zeros((4, 3, 2), np.uint8), tmp_path / "a.png", NAMES)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_viewers_turn_photograph_and_mask_alike(tmp_path: Path, orientation: int) -> None:
    """Compare with Pillow's own rotation by the EXIF tag, in every orientation."""
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)  # rows, columns
    photograph = Image.fromarray(stored)
    photograph.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(photograph))
    affine = np.eye(4)
    for axis, (row, column) in enumerate(((0, 1), (1, 0))):  # neighbours along i, along j
        (y0, x0), (y1, x1) = (
            np.argwhere(shown == value)[0] for value in (stored[0, 0], stored[row, column])
        )
        affine[:2, axis] = 0.5 * (x1 - x0), 0.5 * (y1 - y0)
    assert exif_orientation(affine) == orientation
    mask = stored.T[:, :, None].astype(np.int64)
    written = Image.open(write_png_mask(mask, tmp_path / "a.png", NAMES, orientation))
    assert np.array_equal(np.asarray(written), stored)
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(written)), shown)


def test_a_map_of_shares(tmp_path: Path) -> None:
    shares = np.array([0.0, 0.2, 1.0, 1.2], np.float32).reshape(2, 2, 1)
    pixels = np.asarray(Image.open(write_png_map(shares, tmp_path / "a.png")))
    assert pixels.tolist() == [[0, 255], [51, 255]]


def test_a_negative_background_is_refused(tmp_path: Path) -> None:
    """Refuse it, because the format has no negative numbers."""
    with pytest.raises(ConfigError, match="label numbers -1"):
        write_png_mask(np.full((3, 4, 1), -1), tmp_path / "a.png", {-1: "background", 1: "a"})
    assert not list(tmp_path.iterdir())
