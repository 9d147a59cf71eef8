"""One kind of images: dimensions, channels and unit, through check and through the fingerprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.dataset import ScanDataset, open_dataset
from monai_semiseg.datasets.fingerprint import extract_fingerprint
from monai_semiseg.datasets.kinds import common_unit, require_same_channels
from monai_semiseg.errors import ChannelError, GeometryError


def pictures(root: Path, *pixel_sizes: float | None, colour_last: bool = False) -> ScanDataset:
    """Write TIFF pictures with labels; a pixel size in mm is written as dots per inch."""
    rng = np.random.default_rng(0)
    for number, size in enumerate(pixel_sizes):
        last = colour_last and number == len(pixel_sizes) - 1
        image = rng.integers(0, 256, (9, 11, 3) if last else (9, 11), dtype=np.uint8)
        label = np.zeros((9, 11), np.uint8)
        label[2:5, 3:7] = 1
        settings = {} if size is None else {"dpi": (25.4 / size, 25.4 / size)}
        for kind, array in (("images", image), ("labels", label)):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / kind / f"{'abc'[number]}.tif", **settings)
    return open_dataset(root)


def test_check_and_plan_refuse_millimetres_beside_pixels(tmp_path: Path) -> None:
    dataset = pictures(tmp_path, 0.5, None, 0.5)
    report = check_dataset(dataset, progress=False)
    (found,) = [finding for finding in report.errors if finding.code == "E_GEOMETRY"]
    assert "2 images with a pixel size in mm (such as images/a.tif)" in found.message
    assert "1 without (such as images/b.tif)" in found.message
    assert report.fault is None and report.dataset.unit is None
    with pytest.raises(GeometryError, match=r"mm \(such as a\) and 1 without \(such as b\)"):
        extract_fingerprint(dataset, progress=False)


@pytest.mark.parametrize(("sizes", "unit"), [((0.5, 0.25), "mm"), ((None, None), "px")])
def test_one_unit_is_the_datasets(
    tmp_path: Path, sizes: tuple[float | None, ...], unit: str
) -> None:
    dataset = pictures(tmp_path, *sizes)
    report = check_dataset(dataset, progress=False)
    assert not report.errors and report.dataset.unit == unit
    assert extract_fingerprint(dataset, progress=False).unit == unit


def test_other_channels_are_refused_with_an_image_of_each(tmp_path: Path) -> None:
    dataset = pictures(tmp_path, None, None, None, colour_last=True)
    with pytest.raises(ChannelError, match=r"2 of 1 \(such as a\), 1 of 3 \(such as c\)"):
        extract_fingerprint(dataset, progress=False)


def test_without_images_there_is_no_kind(tmp_path: Path) -> None:
    assert common_unit({}, tmp_path) is None
    require_same_channels({}, tmp_path)
