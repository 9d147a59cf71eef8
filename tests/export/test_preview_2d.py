"""Pictures of 2-D images: photographs as they look, slices as radiologists see them, channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from monai_semiseg.errors import ConfigError
from monai_semiseg.export.preview import Preview, draw_previews
from monai_semiseg.export.shown_channels import select_channels

RGB = ("red", "green", "blue")
NAMES = {1: "lesion"}
AMBER = np.array([255, 176, 0])
TITLE = 92  # pixels
MARGIN = 28
WIDTH = 656
# Stored 40 x 30: left red, right blue, and the upper right corner green.
PHOTOGRAPH = np.zeros((40, 30, 1, 3), np.uint8)
PHOTOGRAPH[:20, :, 0, 0] = 200
PHOTOGRAPH[20:, :, 0, 2] = 200
PHOTOGRAPH[30:, :10, 0] = (0, 200, 0)


def picture(path: Path, *previews: Preview) -> NDArray[np.int64]:
    return np.asarray(Image.open(draw_previews(previews, path, NAMES)).convert("RGB"), dtype=int)


def photograph(mask: NDArray[Any], affine: NDArray[np.float64], **more: Any) -> Preview:
    meta = {"channels": list(RGB), "format": "picture"}
    return Preview.of_image("a", PHOTOGRAPH, mask, affine, meta, **more)


def panel(sheet: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the plane of a picture with a single one, of the given width and height."""
    left, top = (WIDTH - size[0]) // 2, TITLE + MARGIN
    return sheet[top : top + size[1], left : left + size[0]]


def test_a_photograph_is_shown_as_it_looks(tmp_path: Path) -> None:
    sheet = picture(tmp_path / "a.png", photograph(np.zeros((40, 30, 1), int), np.eye(4)))
    shown = panel(sheet, (320, 240))  # 8 times
    expected = np.kron(PHOTOGRAPH[:, :, 0].swapaxes(0, 1), np.ones((8, 8, 1)))
    inside = np.ones((30, 40), bool)
    for axis in (0, 1):  # edges of the colours are smooth
        step = (
            np.abs(np.diff(PHOTOGRAPH[:, :, 0].swapaxes(0, 1).astype(int), axis=axis)).sum(-1) > 0
        )
        for rows, columns in np.argwhere(step):
            inside[rows : rows + 2, columns : columns + 2] = False
    far = np.kron(inside, np.ones((8, 8), bool))
    assert np.array_equal(shown[far], expected[far])
    assert sheet.shape == (TITLE + 240 + 2 * MARGIN, WIDTH, 3), "one plane and no legend"


def test_exif_turns_the_photograph_and_its_mask(tmp_path: Path) -> None:
    """Check orientation 6: the file's columns run down the screen, its rows right to left."""
    affine = np.array([[0, -1, 0, 29], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    mask = np.zeros((40, 30, 1), int)
    mask[32:38, 2:8] = 1
    sheet = picture(tmp_path / "a.png", photograph(mask, affine))
    shown = panel(sheet, (240, 320))
    assert np.array_equal(shown[40, 120], [200, 0, 0]), "the file's left is on top"
    rows, columns = np.where(np.abs(shown - AMBER).sum(-1) < 30)
    # The file's upper right corner is at the screen's lower right.
    assert rows.min() == pytest.approx(8 * 32, abs=4) and rows.max() == pytest.approx(8 * 38, abs=4)
    assert columns.min() == pytest.approx(8 * (30 - 8), abs=4)
    assert columns.max() == pytest.approx(8 * (30 - 2), abs=4)


def test_the_mask_is_a_light_filling_within_its_outline(tmp_path: Path) -> None:
    mask = np.zeros((40, 30, 1), int)
    mask[5:15, 10:20] = 1
    shown = panel(picture(tmp_path / "a.png", photograph(mask, np.eye(4))), (320, 240))
    assert np.array_equal(shown[8 * 15, 8 * 10], (0.3 * AMBER + 0.7 * np.array([200, 0, 0])) // 1)
    assert np.array_equal(shown[8 * 15, 8 * 5 + 1], AMBER)
    assert np.array_equal(shown[8 * 25, 8 * 10], [200, 0, 0])


@pytest.mark.parametrize("flip", [(), (0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("across", [0, 1, 2])
def test_a_slice_of_a_scan_is_radiological_in_any_order(
    tmp_path: Path, across: int, flip: tuple[int, ...]
) -> None:
    """Check that a 2-D NIfTI file has a patient's axes, unlike a photograph.

    Flips change nothing.
    """
    rng = np.random.default_rng(0)
    image = np.expand_dims(rng.normal(size=(20, 14)), across)
    mask = np.expand_dims(np.pad(np.ones((3, 4), int), ((2, 15), (1, 9))), across)
    first = picture(tmp_path / "a.png", Preview("a", image, mask, np.eye(4)))
    affine = np.eye(4)
    axes = [axis for axis in range(3) if axis != across]
    turned = [axes[n] for n in flip]
    for axis in turned:
        affine[axis, axis], affine[axis, 3] = -1, image.shape[axis] - 1
    stored = [np.flip(array, turned) for array in (image, mask)]
    other = picture(tmp_path / "b.png", Preview("a", *stored, affine))
    assert np.array_equal(first, other)
    amber = np.argwhere(np.abs(first[: TITLE + MARGIN + 210] - AMBER).sum(-1) < 30)
    assert amber[:, 1].mean() > WIDTH / 2, "what is right or behind is at the left edge: R, or A"


def test_thick_pixels_keep_their_proportions(tmp_path: Path) -> None:
    mask = np.ones((40, 40, 1), int)
    image = np.zeros((40, 40, 1), np.uint8)
    sheet = picture(tmp_path / "a.png", Preview("a", image, mask, np.diag([2.0, 1.0, 5.0, 1.0])))
    edge = np.argwhere(np.abs(sheet[: TITLE + 200] - AMBER).sum(-1) < 30)
    high, wide = np.ptp(edge, axis=0)
    assert wide / high == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("size", [(3000, 2000), (900, 1), (64, 64), (450, 500)])
def test_large_and_small_images_give_pictures_of_bounded_size(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    image = np.zeros((*size, 1, 3), np.uint8)
    mask = np.zeros((*size, 1), np.uint8)
    meta = {"channels": list(RGB), "format": "picture"}
    sheet = picture(tmp_path / "a.png", Preview.of_image("a", image, mask, np.eye(4), meta))
    assert sheet.shape[1] == WIDTH and sheet.shape[0] <= TITLE + 2 * MARGIN + 600


def test_photographs_and_scans_share_a_sheet(tmp_path: Path) -> None:
    scan = np.random.default_rng(0).normal(size=(12, 10, 8))
    mask = np.zeros(scan.shape, int)
    rows = [photograph(np.zeros((40, 30, 1), int), np.eye(4)), Preview("b", scan, mask, np.eye(4))]
    alone = picture(tmp_path / "b.png", rows[1])
    both = picture(tmp_path / "a.png", *rows)
    assert both.shape[1] == 900
    assert np.array_equal(both[-len(alone) :], alone)


MR = np.random.default_rng(0).normal(size=(12, 10, 8, 4))
CONTRASTS = ("FLAIR", "T1", "T1post", "T2")


def test_the_first_channel_or_the_wanted_ones() -> None:
    mask = np.zeros((12, 10, 8), int)
    default = select_channels(MR, mask, CONTRASTS)
    assert not default.in_colour and np.array_equal(default.volumes[0], MR[..., 0])
    one = select_channels(MR, mask, CONTRASTS, ["T1post"])
    assert np.array_equal(one.volumes[0], MR[..., 2])
    three = select_channels(MR, mask, CONTRASTS, ["T2", "FLAIR", "T1"])
    assert three.in_colour
    assert all(np.array_equal(three.volumes[n], MR[..., at]) for n, at in enumerate((3, 0, 1)))
    with pytest.raises(ConfigError, match="DWI"):
        select_channels(MR, mask, CONTRASTS, ["DWI"])


def test_a_scan_with_channels_is_that_of_its_first(tmp_path: Path) -> None:
    mask = (MR[..., 0] > 1).astype(int)
    many = Preview.of_image("a", MR, mask, np.eye(4), {"channels": CONTRASTS})
    one = Preview("a", np.ascontiguousarray(MR[..., 0]), mask, np.eye(4))
    assert np.array_equal(picture(tmp_path / "a.png", many), picture(tmp_path / "b.png", one))


@pytest.mark.parametrize(("kind", "most"), [(np.uint8, 255), (np.uint16, 65535), (float, 1)])
def test_white_is_that_of_the_type(kind: type, most: int) -> None:
    image = (np.array([[[[0, 1, 1]]], [[[0, 0, 1]]]]) * most).astype(kind)
    shown = select_channels(image, np.zeros((2, 1, 1), int), RGB)
    drawn = shown.draw([volume[:, :, 0].T for volume in shown.volumes], (2, 1))
    assert drawn.tolist() == [[[0, 255, 255], [0, 0, 255]]]


def test_colours_are_kept_in_a_jpeg_of_a_fraction_of_the_size(tmp_path: Path) -> None:
    """Check that outlines stay pure: chroma is not subsampled."""
    mask = np.zeros((40, 30, 1), int)
    mask[5:15, 10:20] = 1
    row = photograph(mask, np.eye(4))
    assert row.in_colour and not Preview("a", MR, mask, np.eye(4), channels=CONTRASTS).in_colour
    png, jpeg = (picture(tmp_path / f"a.{kind}", row) for kind in ("png", "jpg"))
    assert Image.open(tmp_path / "a.jpg").format == "JPEG"
    assert (
        np.abs(png - jpeg).mean() < 2
        and np.abs(panel(jpeg, (320, 240))[120, 41] - AMBER).max() < 30
    )
