"""Pairs of pictures and masks by name: folders, suffixes, spellings, single files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from tests.layout_builders import (
    patient,
    picture,
    save,
)


@pytest.mark.parametrize("suffix", ["mask", "segmentation", "seg", "gt", "Segmentation"])
@pytest.mark.parametrize("place", ["masks", "labels", ""])
def test_suffix_pairs(tmp_path: Path, suffix: str, place: str) -> None:
    """Find masks in folders of their own, and in one folder with the images."""
    for number in range(3):
        picture(tmp_path / ("images" if place else "") / f"ISIC_{number}.jpg", number)
    for number in (0, 2, 7):
        picture(tmp_path / place / f"ISIC_{number}_{suffix}.png", number, "L")
    (tmp_path / "notes.txt").write_text("text")
    dataset = open_dataset(tmp_path)
    found = {case.id: case.label and Path(str(case.label)).name for case in dataset.cases}
    assert found == {
        "ISIC_0": f"ISIC_0_{suffix}.png",
        "ISIC_1": None,
        "ISIC_2": f"ISIC_2_{suffix}.png",
    }
    name = f"{place}/ISIC_7_{suffix}.png".lstrip("/")
    assert dataset.problems == {name: "a label without an image"}
    assert check_dataset(dataset, progress=False).dataset.channel_names == ("red", "green", "blue")


@pytest.mark.parametrize(
    ("image", "mask", "label"),
    [
        ("images/IMG_{}.PNG", "labels/img_{}.png", None),
        ("Images/img_{}.jpg", "Masks/img_{}_Mask.png", None),
        ("photos/img_{}.png", "annotations/img_{}.png", None),
        ("images/img_{}.png", "segmentations/img_{}.png", None),
        ("img/img_{}.png", "gt/img_{}.png", None),
        ("slides/img_{}.png", "annotations/img_{}.png", None),
        ("slides/img_{}.png", "readers/img_{}.png", "readers"),
        ("images/nevus/img_{}.png", "masks/nevus/img_{}.png", None),
    ],
    ids=["capitals", "Images", "photos", "segmentations", "img", "slides", "named", "classes"],
)
def test_spellings_of_folders_and_names(
    tmp_path: Path, image: str, mask: str, label: str | None
) -> None:
    for number in range(3):
        picture(tmp_path / image.format(number), number)
        picture(tmp_path / mask.format(number), number, "L")
    dataset = open_dataset(tmp_path, label=label)
    pairs = {str(case.image): case.label for case in dataset.cases}
    assert pairs == {image.format(n): mask.format(n) for n in range(3)}
    assert dataset.problems == {}


@pytest.mark.parametrize("place", ["images", ""], ids=["folders", "one_folder"])
def test_voxels_beside_a_header_are_no_image_of_their_own(tmp_path: Path, place: str) -> None:
    """Take MetaImage and NIfTI in two files each for one image, and for one label."""
    voxels = np.random.default_rng(0).integers(0, 2, (3, 4, 5)).astype(np.uint8)
    files = [(tmp_path / place, ""), (tmp_path / ("labels" if place else ""), "_mask")]
    for folder, end in files:
        folder.mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / f"a{end}.mhd"))
        nib.save(nib.Nifti1Pair(voxels, np.eye(4)), folder / f"b{end}.hdr")
    dataset = open_dataset(tmp_path)
    assert dataset.problems == {}
    names = [(Path(str(case.image)).name, Path(str(case.label)).name) for case in dataset.cases]
    assert names == [("a.mhd", "a_mask.mhd"), ("b.hdr", "b_mask.hdr")]


def test_folders_belong_to_names_that_come_twice(tmp_path: Path) -> None:
    """Pair slices 1 and 2 of two patients: each file name is there twice."""
    files = [f"p{patient}/{number}" for patient in (1, 2) for number in (1, 2)]
    for number, name in enumerate(files):
        picture(tmp_path / "images" / f"{name}.png", number)
        picture(tmp_path / "labels" / f"{name}_mask.png", number, "L")
    dataset = open_dataset(tmp_path)
    assert {case.id: case.label for case in dataset.cases} == {
        name: f"labels/{name}_mask.png" for name in files
    }
    assert dataset.problems == {}


def test_names_that_differ_in_capital_letters_alone_are_not_guessed(tmp_path: Path) -> None:
    for name in ("a", "A"):
        picture(tmp_path / "images" / f"{name}x.png", 0)
    picture(tmp_path / "labels" / "ax.png", 0, "L")
    picture(tmp_path / "labels" / "AX.png", 0, "L")
    assert open_dataset(tmp_path).problems == {"labels/AX.png": "a label without an image"}


def test_labels_of_other_names_are_told_how_to_be_called(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "images" / f"img_{number}.png", number)
        picture(tmp_path / "labels" / f"mask_{number}.png", number, "L")
    findings = check_dataset(open_dataset(tmp_path), progress=False).findings
    (text,) = [one.message for one in findings if one.code == "W_UNLABELLED"]
    assert "images/img_0.png and labels/mask_0.png differ" in text and "table" in text


def test_folders_of_images_that_lie_deeper_are_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        picture(tmp_path / part / "images" / "a.png", 0)
        picture(tmp_path / part / "masks" / "a.png", 0, "L")
    with pytest.raises(ConfigError, match="below: test, train") as caught:
        open_dataset(tmp_path)
    assert str(tmp_path / "test") in caught.value.remedy


def test_a_grey_picture_among_colour_ones_is_named(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / "images" / f"{number}.png", number, "L" if number == 2 else "RGB")
    report = check_dataset(open_dataset(tmp_path), progress=False)
    assert [(one.code, one.case) for one in report.errors] == [("E_CHANNELS", "2")]
    assert "convert it to RGB" in report.errors[0].message
    assert report.dataset.spatial_dims == 2 and report.dataset.unit == "px"


def test_a_single_file(tmp_path: Path) -> None:
    for file in (picture(tmp_path / "photo.jpg"), save(tmp_path / "scan.nii.gz", patient(0)[1])):
        dataset = open_dataset(file)
        assert [(case.id, case.image) for case in dataset.cases] == [
            (file.name.split(".")[0], file.name)
        ]
        assert dataset.root == tmp_path
