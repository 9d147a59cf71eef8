"""Layouts of data sets with channels: the same cases, files and voxels from each of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import LoadImaged

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.datalist import read_datalist
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.reader import ScanReader
from tests.layout_builders import (
    LAYOUTS,
    NAMES,
    bids,
    decathlon,
    folder_a_case,
    in_one_folder,
    nnunet,
    patient,
    picture,
    save,
    table,
    tensors,
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_tensors_from_every_layout(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = open_dataset(layout(tmp_path))
    assert dataset.channel_names == NAMES and dataset.problems == {}
    assert [case.id.removeprefix("sub-")[:2] for case in dataset.cases] == ["p0", "p1", "p2"]
    for number, (image, label) in enumerate(tensors(dataset)):
        voxels, expected = patient(number)
        assert np.array_equal(image, voxels) and np.array_equal(label, expected)
    report = check_dataset(dataset, progress=False)
    assert report.errors == []
    assert (report.dataset.spatial_dims, report.dataset.unit) == (3, "mm")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_datalist_needs_no_options(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    """Split with other channels in another order; the datalist alone says which."""
    source = layout(tmp_path / "d")
    output = tmp_path / "list.json"
    options = [] if layout in (nnunet, decathlon, table) else ["--channels", "T2,FLAIR"]
    wanted = (3, 0) if options else (0, 1, 2, 3)
    command = ["split", str(source), *options, "--labelled", "1", "--test", "1"]
    assert main([*command, "--output", str(output)]) == 0
    content = json.loads(output.read_text())
    assert content["channel_names"] == [NAMES[n] for n in wanted]
    assert (content["spatial_dims"], content["unit"]) == (3, "mm")
    root = source.parent if source.is_file() else source
    load = LoadImaged("image", reader=ScanReader(channels=content["channel_names"]))
    for section in ("training", "unlabeled", "test"):
        for entry in read_datalist(output, root, section):
            assert set(entry) <= {"image", "label"}
            image = np.asarray(load({"image": entry["image"]})["image"])
            known = [np.array_equal(image, patient(n)[0][..., list(wanted)]) for n in range(3)]
            assert sum(known) == 1


@pytest.mark.parametrize("layout", [folder_a_case, bids, in_one_folder])
def test_a_case_without_one_channel_is_named(
    layout: Callable[[Path], Path], tmp_path: Path
) -> None:
    next(layout(tmp_path).rglob("*p1*T2.nii.gz"), tmp_path / "p1" / "T2.nii.gz").unlink()
    dataset = open_dataset(tmp_path)
    assert dataset.channel_names == NAMES and len(dataset.cases) == 2
    ((case, text),) = dataset.problems.items()
    assert "p1" in case and text.startswith("lacks T2: 3 channels of")


@pytest.mark.parametrize(
    ("layout", "second", "channel"),
    [
        (folder_a_case, "p1/T2.nii", "T2.nii.gz"),
        (folder_a_case, "p1/t2.nii.gz", "t2.nii.gz"),
        (bids, "sub-p1/ses-1/anat/sub-p1_ses-1_T2.nii", "sub-p1_ses-1_T2.nii.gz"),
        (in_one_folder, "p1-T2.nii.gz", "p1-T2"),
    ],
    ids=["folders", "capitals", "bids", "one_folder"],
)
def test_a_second_file_of_a_channel_is_not_lost(
    layout: Callable[[Path], Path], second: str, channel: str, tmp_path: Path
) -> None:
    """Leave the case out by name: nothing says which of the two is the channel."""
    save(layout(tmp_path) / second, patient(7)[0][..., 0])
    dataset = open_dataset(tmp_path)
    assert dataset.channel_names == NAMES and len(dataset.cases) == 2
    ((case, text),) = dataset.problems.items()
    assert "p1" in case and text.startswith(f"has {channel}: 5 channels of")


def test_files_beside_the_wanted_channels_are_no_channels(tmp_path: Path) -> None:
    folder_a_case(tmp_path)
    save(tmp_path / "p1" / "brain.nii.gz", patient(1)[1])
    assert open_dataset(tmp_path).problems == {
        "p1": "has brain: 5 channels of p1 (FLAIR, T1, T1post, T2, brain), "
        "the data set has FLAIR, T1, T1post, T2"
    }
    dataset = open_dataset(tmp_path, channels="T1,flair", label="lesions")
    assert dataset.problems == {} and dataset.channel_names == ("T1", "flair")
    assert dataset.cases[0].image == ("p0/T1.nii.gz", "p0/FLAIR.nii.gz")


@pytest.mark.parametrize("label", [None, "wml", "lesions"])
def test_the_folder_of_one_patient_is_a_case(label: str | None, tmp_path: Path) -> None:
    folder = folder_a_case(tmp_path) / "p1"
    if label == "wml":  # a name that only the user knows
        (folder / "lesions.nii.gz").rename(folder / "wml.nii.gz")
    dataset = open_dataset(folder, label=label)
    assert (dataset.channel_names, dataset.problems) == (NAMES, {})
    ((image, mask),) = tensors(dataset)
    assert dataset.cases[0].id == "p1"
    voxels, expected = patient(1)
    assert np.array_equal(image, voxels) and np.array_equal(mask, expected)
    assert check_dataset(dataset, progress=False).errors == []


def test_one_patient_in_a_folder_of_images_gets_a_name(tmp_path: Path) -> None:
    folder_a_case(tmp_path / "x")
    (tmp_path / "x" / "p1").rename(tmp_path / "images")
    (tmp_path / "images" / "lesions.nii.gz").unlink()
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == [tmp_path.name]
    assert dataset.channel_names == NAMES


def test_the_label_of_folders_is_asked_for_if_several_may_be_it(tmp_path: Path) -> None:
    folder_a_case(tmp_path)
    for number in range(3):
        save(tmp_path / f"p{number}" / "brain_mask.nii.gz", patient(number)[1])
    with pytest.raises(ConfigError, match="may be the label: brain_mask, lesions"):
        open_dataset(tmp_path)
    dataset = open_dataset(tmp_path, channels=NAMES, label="Lesions")
    assert [case.label for case in dataset.cases] == [f"p{n}/lesions.nii.gz" for n in range(3)]
    with pytest.raises(ConfigError, match="--label tumour, and no folder"):
        open_dataset(tmp_path, label="tumour")


def test_names_that_repeat_the_folder(tmp_path: Path) -> None:
    """Read them as BraTS has them."""
    for number in range(2):
        for name in ("flair", "t1ce", "seg"):
            save(tmp_path / f"B_{number}" / f"B_{number}_{name}.nii.gz", patient(number)[1])
    dataset = open_dataset(tmp_path)
    assert dataset.channel_names == ("flair", "t1ce")
    assert dataset.cases[1].label == "B_1/B_1_seg.nii.gz"


@pytest.mark.parametrize("layout", [nnunet, decathlon, in_one_folder])
def test_a_label_that_the_layout_says_by_itself(layout: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--label lesions, and the layout is"):
        open_dataset(layout(tmp_path), label="lesions")


@pytest.mark.parametrize("channels", ["T1,,T2", "T1,t1", "T1=("])
def test_channels_that_cannot_be_read(tmp_path: Path, channels: str) -> None:
    with pytest.raises(ConfigError, match="--channels"):
        open_dataset(folder_a_case(tmp_path), channels=channels)


# nnU-Net


def describe(root: Path, **change: Any) -> None:
    content = json.loads((root / "dataset.json").read_text())
    content = {key: value for key, value in {**content, **change}.items() if value is not None}
    (root / "dataset.json").write_text(json.dumps(content))


def test_nnunet_without_channel_names(tmp_path: Path) -> None:
    describe(nnunet(tmp_path), channel_names=None)
    with pytest.raises(ConfigError, match="no channel_names") as error:
        open_dataset(tmp_path)
    assert len(str(error.value).splitlines()) <= 4


def test_nnunet_labels_that_are_not_consecutive(tmp_path: Path) -> None:
    describe(nnunet(tmp_path), labels={"background": 0, "lesion": 1, "cyst": 7, "ignore": 9})
    dataset = open_dataset(tmp_path)
    assert dataset.labels == {0: "background", 1: "lesion", 7: "cyst", 9: "ignore"}


def test_nnunet_files_of_another_ending_are_named(tmp_path: Path) -> None:
    picture(nnunet(tmp_path) / "imagesTr" / "photo.png")
    what = "not a .nii.gz file, the file_ending of dataset.json"
    assert open_dataset(tmp_path).problems == {"imagesTr/photo.png": what}


def test_nnunet_colour_pictures_are_one_file_with_three_channels(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / "imagesTr" / f"c{number}_0000.png", number)
        picture(tmp_path / "labelsTr" / f"c{number}.png", number, "L")
    content = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "gland": 1},
        "numTraining": 2,
        "file_ending": ".png",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    report = check_dataset(open_dataset(tmp_path), progress=False)
    assert report.errors == []
    assert report.cases[0].channels == ("R", "G", "B")
    assert report.cases[0].case.image == "imagesTr/c0_0000.png"


# BIDS


def test_a_subject_of_bids_is_a_group(tmp_path: Path) -> None:
    bids(tmp_path)
    for name in NAMES:
        save(tmp_path / f"sub-p0/ses-2/anat/sub-p0_ses-2_{name}.nii.gz", patient(0)[0][..., 0])
    cases = {case.id: case for case in open_dataset(tmp_path).cases}
    assert {name: case.group for name, case in cases.items()} == {
        "sub-p0_ses-1": "sub-p0",
        "sub-p0_ses-2": "sub-p0",
        "sub-p1_ses-1": "sub-p1",
        "sub-p2_ses-1": "sub-p2",
    }
    assert cases["sub-p0_ses-2"].label is None


def test_several_label_maps_of_bids(tmp_path: Path) -> None:
    bids(tmp_path)
    folder = tmp_path / "derivatives/by_machine/sub-p0/ses-1/anat"
    save(folder / "sub-p0_ses-1_desc-tissue_dseg.nii.gz", patient(0)[1])
    with pytest.raises(ConfigError, match="2 label maps of one case"):
        open_dataset(tmp_path)
    by_entity = open_dataset(tmp_path, label="desc-lesion")
    assert by_entity.cases == open_dataset(tmp_path, label="by_hand").cases
    assert all("desc-lesion" in str(case.label) for case in by_entity.cases)
