"""Slices for the page: the patient's sides, values to the last bit, bounded memory."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from monai_semiseg.errors import GeometryError
from monai_semiseg.export.dicom_seg import write_segmentation
from monai_semiseg.export.nifti_mask import write_mask
from monai_semiseg.export.png_mask import write_png_mask
from monai_semiseg.export.seg_nrrd import write_seg_nrrd
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import Volume
from monai_semiseg.labelling.review_images import ImageCache, ReviewImage, read_mask
from tests.labelling.review_builders import NAMES, write_photograph, write_scan

RNG = np.random.default_rng(0)


def cut(
    image: ReviewImage, plane: int, position: int, shown: int = 0
) -> tuple[list[NDArray[np.float64]], NDArray[Any]]:
    """Return the channels' values and the mask of a slice, decoded as the page does it."""
    facts = image.description()
    shape = facts["planes"][plane]["rows"], facts["planes"][plane]["columns"]
    way = facts["shown"][shown]
    content = image.slice_bytes(plane, position, shown)
    count = shape[0] * shape[1]
    end = count * way["bytes"] * way["channels"]
    numbers = np.frombuffer(content[:end], f"<u{way['bytes']}").reshape(-1, *shape)
    mask = np.frombuffer(content[end:], f"<u{facts['mask_bytes']}").reshape(shape)
    return [way["first"] + way["step"] * one for one in numbers], mask


@pytest.mark.parametrize("number", range(0, 48, 5))
def test_planes_are_radiological_in_any_order_of_the_voxels(
    number: int, kit: SimpleNamespace
) -> None:
    ras = RNG.integers(-1000, 3000, (7, 9, 5)).astype(np.int16)
    mask = (ras > 2000).astype(np.uint8)
    there = nib.orientations.ornt_transform(
        np.array([[0, 1], [1, 1], [2, 1]]), kit.orientations()[number]
    )
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) @ nib.orientations.inv_ornt_aff(there, ras.shape)
    voxels, labels = (nib.orientations.apply_orientation(one, there) for one in (ras, mask))
    image = ReviewImage(Volume(voxels, affine), labels)
    assert [plane["letters"] for plane in image.description()["planes"]] == [
        ["R", "L", "A", "P"],
        ["R", "L", "S", "I"],
        ["A", "P", "S", "I"],
    ]
    # Rows from the top, columns from the left: right and anterior have the largest indices.
    expected = {0: (ras[::-1, ::-1, 3], 2), 1: (ras[::-1, 4, ::-1], 1), 2: (ras[2, ::-1, ::-1], 0)}
    for plane, position in ((0, 3), (1, 4), (2, 2)):
        (values,), seen = cut(image, plane, position)
        assert np.array_equal(values, expected[plane][0].T)
        assert np.array_equal(seen, expected[plane][0].T > 2000)


def test_captions_say_where_a_slice_is() -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[2, 3] = -4
    voxels = np.zeros((3, 4, 5), np.int16)
    (axial, *_) = ReviewImage(Volume(voxels, affine), voxels).description()["planes"]
    assert axial["captions"][0] == "Axial  I 4.0 mm" and axial["captions"][4] == "Axial  S 4.0 mm"
    assert (axial["height"], axial["width"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (np.array([0, 200, 255], np.uint8), 0),
        (np.array([-1024, 0, 3071], np.int16), 0),
        (np.array([0, 30000, 65535], np.uint16), 0),
        (np.array([-40000, 0, 100000], np.int32), 140000 / 65535 / 2),
        (np.array([-1e-3, 0, 2e-3], np.float32), 3e-3 / 65535 / 2),
        (np.array([5, 5, 5], np.float64), 0),
    ],
    ids=["uint8", "int16", "uint16", "int32", "float32", "constant"],
)
def test_values_keep_their_bits(values: NDArray[Any], error: float) -> None:
    voxels = np.tile(values[:, None, None], (1, 2, 2))
    image = ReviewImage(Volume(voxels, np.eye(4)), np.zeros(voxels.shape, np.uint8))
    (shown,), _ = cut(image, 0, 0)
    assert np.abs(shown[0, ::-1] - values.astype(float)).max() <= error * 1.001


def test_a_photograph_is_shown_as_it_was_taken(tmp_path: Path) -> None:
    path, mask = write_photograph(tmp_path, "c")
    image = ReviewImage(read_scan(path), mask)
    facts = image.description()
    assert [way["name"] for way in facts["shown"]] == ["colour", "red", "green", "blue"]
    assert (facts["shown"][0]["low"], facts["shown"][0]["high"]) == (0, 255)
    (plane,) = facts["planes"]
    assert not plane["flipped"] and plane["captions"] == []
    (red, green, blue), labels = cut(image, 0, 0)
    assert red.shape == (30, 40) and (red[:, :20] == 200).all() and (blue[:, 20:] == 200).all()
    assert not green.any() and np.array_equal(labels, mask[:, :, 0].T)
    assert np.array_equal(cut(image, 0, 0, shown=3)[0][0], blue)


def test_a_photograph_that_was_turned_is_shown_as_a_viewer_shows_it(tmp_path: Path) -> None:
    """Obey EXIF's orientation, for the photograph and its mask."""
    pixels = RNG.integers(0, 255, (6, 9, 3), np.uint8)
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(pixels).save(path, exif=exif)
    labels = RNG.integers(0, 2, (9, 6, 1)).astype(np.uint8)
    mask = write_png_mask(labels, tmp_path / "turned_seg.png", NAMES, 6)
    image = ReviewImage.read(lambda: read_scan(path), mask, NAMES)
    channels, seen = cut(image, 0, 0)
    with Image.open(path) as photograph, Image.open(mask) as drawn:
        assert np.array_equal(np.stack(channels, -1), ImageOps.exif_transpose(photograph))
        assert np.array_equal(seen, ImageOps.exif_transpose(drawn))


def test_several_channels_can_be_chosen() -> None:
    voxels = RNG.normal(size=(6, 5, 4, 2)).astype(np.float32)
    image = ReviewImage(
        Volume(voxels, np.eye(4), channels=("T1", "T2")), np.zeros((6, 5, 4), np.uint8)
    )
    assert [way["name"] for way in image.description()["shown"]] == ["T1", "T2"]
    for shown in (0, 1):
        (values,), _ = cut(image, 0, 2, shown)
        assert np.allclose(values, voxels[::-1, ::-1, 2, shown].T, atol=1e-3)


def test_a_huge_picture_is_thinned_out() -> None:
    voxels = RNG.integers(0, 255, (4100, 10, 1)).astype(np.uint8)
    meta = {"format": "picture"}
    image = ReviewImage(Volume(voxels, np.eye(4), meta), np.zeros(voxels.shape, np.uint8))
    (plane,) = image.description()["planes"]
    assert (plane["every"], plane["columns"], plane["rows"]) == (3, 1367, 4)
    (values,), _ = cut(image, 0, 0)
    assert np.array_equal(values, voxels[::3, ::3, 0].T)


@pytest.mark.parametrize(
    "numbers", [(-1, 0, 0), (3, 0, 0), (0, -1, 0), (0, 16, 0), (0, 0, -1), (0, 0, 1)], ids=str
)
def test_slices_that_are_not_there(numbers: tuple[int, int, int], tmp_path: Path) -> None:
    path, mask = write_scan(tmp_path, "a", 0)
    with pytest.raises(IndexError):
        ReviewImage(read_scan(path), mask).slice_bytes(*numbers)


def test_masks_of_every_kind_are_read_alike(tmp_path: Path, kit: SimpleNamespace) -> None:
    affine = kit.write_dicom(tmp_path / "dicom", kit.values((12, 10, 8)), (1.0, 1.0, 2.0))
    image = read_scan(tmp_path / "dicom")
    assert np.allclose(affine, image.affine)
    mask = np.zeros(image.shape, np.uint8)
    mask[2:5, 3:7, 2:6] = 1
    mask[6:9, 3:7, 3:5] = 2
    files = sorted((tmp_path / "dicom").iterdir())
    paths = [
        write_mask(mask, image.affine, tmp_path / "m_seg.nii.gz", NAMES),
        write_seg_nrrd(mask, image.affine, tmp_path / "m.seg.nrrd", NAMES),
        write_segmentation(mask, image.affine, files, tmp_path / "m_seg.dcm", NAMES, {}, ""),
    ]
    for path in paths:
        assert np.array_equal(read_mask(path, NAMES, image), mask), path
    photograph, flat = write_photograph(tmp_path, "c")
    png = write_png_mask(flat, tmp_path / "c_seg.png", NAMES)
    assert np.array_equal(read_mask(png, NAMES, read_scan(photograph)), flat)


def test_numbers_are_counted_from_the_background(tmp_path: Path) -> None:
    image = Volume(np.zeros((3, 3, 3), np.int16), np.eye(4))
    mask = RNG.integers(-1, 2, (3, 3, 3)).astype(np.int16)
    names = {-1: "background", 0: "first", 1: "second"}
    path = write_mask(mask, image.affine, tmp_path / "m.nii.gz", names)
    assert np.array_equal(read_mask(path, names, image), mask + 1)


def test_a_mask_of_another_grid_is_refused(tmp_path: Path) -> None:
    path, mask = write_scan(tmp_path, "a", 0)
    moved = write_mask(mask, np.eye(4), tmp_path / "m_seg.nii.gz", NAMES)
    with pytest.raises(GeometryError, match="m_seg"):
        ReviewImage.read(lambda: read_scan(path), moved, NAMES)


def test_memory_is_bounded_and_the_last_ones_are_kept() -> None:
    loaded: list[int] = []
    alive: dict[int, weakref.ref[ReviewImage]] = {}

    def load(number: int) -> ReviewImage:
        loaded.append(number)
        voxels = np.zeros((10, 10, 10), np.int16)
        image = ReviewImage(Volume(voxels, np.eye(4)), voxels)
        alive[number] = weakref.ref(image)
        return image

    cache = ImageCache(load, most_bytes=3 * 4000)
    for number in (0, 1, 2, 0, 3, 0, 1):
        cache.get(number)
    assert loaded == [0, 1, 2, 3, 1]  # 1 was the oldest when 3 came
    gc.collect()
    assert [number for number, image in alive.items() if image() is not None] == [0, 1, 3]
    cache.forget(0)
    cache.get(0)
    assert loaded[-1] == 0
    small = ImageCache(load, most_bytes=1)
    loaded.clear()
    for number in (5, 6, 5, 6):
        small.get(number)
    assert loaded == [5, 6]  # the one that is open and the next


def test_one_image_is_read_once_and_others_do_not_wait() -> None:
    gate = threading.Event()
    loaded: list[int] = []

    def load(number: int) -> ReviewImage:
        loaded.append(number)
        if number == 1:
            assert gate.wait(20)
        voxels = np.zeros((2, 2, 2), np.int16)
        return ReviewImage(Volume(voxels, np.eye(4)), voxels)

    cache = ImageCache(load)
    cache.get(0)
    threads = [threading.Thread(target=cache.get, args=(1,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    while loaded != [0, 1]:
        time.sleep(0.001)
    cache.get(0)  # returns while the other one is being read
    gate.set()
    for thread in threads:
        thread.join(20)
    assert loaded == [0, 1]
