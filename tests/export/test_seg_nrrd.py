"""``.seg.nrrd`` files: voxels, geometry and the segments that 3D Slicer reads."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import ImageColor

from monai_semiseg.errors import ConfigError
from monai_semiseg.export.palette import ClassPalette
from monai_semiseg.export.seg_nrrd import write_seg_nrrd

NAMES = {0: "background", 1: "left ventricle", 7: "Läsion", 420: "edema"}
AFFINE = np.array([[-0.8, 0, 0, 20], [0, 0, -2.5, 7], [0, 1.5, 0, -4], [0, 0, 0, 1]])
MASK = np.random.default_rng(0).choice([0, 1, 7, 420], (5, 4, 3))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_seg_nrrd(MASK, AFFINE, tmp_path / "sub" / "a.seg.nrrd", NAMES)


def test_voxels_and_geometry(written: Path) -> None:
    image = sitk.ReadImage(str(written))
    assert np.array_equal(sitk.GetArrayFromImage(image).T, MASK)
    for index in ((0, 0, 0), (4, 3, 2), (1, 0, 2)):
        ras = (AFFINE @ [*index, 1])[:3]
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx(
            [-ras[0], -ras[1], ras[2]]
        )


def test_segments_have_names_numbers_and_the_previews_colours(written: Path) -> None:
    image = sitk.ReadImage(str(written))
    entries = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    palette = ClassPalette([1, 7, 420])
    table = np.reshape(palette.table(), (-1, 3))
    for number, (value, name) in enumerate([(1, "left ventricle"), (7, "Läsion"), (420, "edema")]):
        segment = {
            key.removeprefix(f"Segment{number}_"): text
            for key, text in entries.items()
            if key.startswith(f"Segment{number}_")
        }
        assert (segment["LabelValue"], segment["Name"]) == (str(value), name)
        assert (segment["Layer"], segment["Extent"]) == ("0", "0 4 0 3 0 2")
        colour = [float(part) * 255 for part in segment["Color"].split()]
        assert colour == pytest.approx(table[palette.pure(value)], abs=0.01)
    assert len({text for key, text in entries.items() if key.endswith("_ID")}) == 3
    assert entries["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert not [key for key in entries if key.startswith("Segment3")]
    assert ImageColor.getrgb("#ffb000") == tuple(table[palette.pure(1)])


def test_the_header_is_that_of_a_slicer_file(written: Path) -> None:
    header = written.read_bytes().split(b"\n\n")[0].decode()
    assert header.startswith("NRRD000")
    assert re.search(r"^space: left-posterior-superior$", header, re.M)
    assert re.search(r"^type: unsigned short$", header, re.M)
    assert re.search(r"^Segment0_Name:=left ventricle$", header, re.M)


def test_a_2_d_image(tmp_path: Path) -> None:
    mask = MASK[:, :, :1] % 2
    image = sitk.ReadImage(str(write_seg_nrrd(mask, AFFINE, tmp_path / "a.seg.nrrd", {1: "a"})))
    assert np.array_equal(sitk.GetArrayFromImage(image).T, mask)


def test_a_negative_background_is_refused(tmp_path: Path) -> None:
    """Refuse it, because the format has no negative numbers."""
    with pytest.raises(ConfigError, match="label numbers -1"):
        write_seg_nrrd(
            np.full((3, 4, 2), -1), np.eye(4), tmp_path / "a.seg.nrrd", {-1: "background", 1: "a"}
        )
    assert not list(tmp_path.iterdir())
