"""Layouts of data sets with channels: the same cases, files and voxels from each of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImaged
from PIL import Image

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.datalist import read_datalist
from monai_semiseg.datasets.dataset import ScanDataset, open_dataset
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
    save,
    table,
)

Array = np.ndarray[Any, Any]


def tensors(dataset: ScanDataset) -> list[tuple[Array, Array]]:
    """Read all cases as the bundles do: MONAI's loader on the entries of a datalist."""
    load = LoadImaged("image", reader=ScanReader(channels=dataset.channel_names))
    found = []
    for case in dataset.cases:
        entry = case.entry()["image"]
        names = [entry] if isinstance(entry, str) else entry
        image = load({"image": [str(dataset.root / name) for name in names]})["image"]
        label = nib.load(dataset.root / str(case.label)).get_fdata()
        found.append((np.asarray(image), label))
    return found


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


# Pictures


def picture(path: Path, value: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 255, (16, 16, 3), np.uint8)
    if mode == "L":
        pixels = (pixels[..., 0] > 128).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


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


# Tables


def test_a_table_comes_back_as_the_same_cases(tmp_path: Path) -> None:
    for layout in (folder_a_case, decathlon, bids):
        source = layout(tmp_path / layout.__name__)
        written = tmp_path / "tables" / f"{layout.__name__}.csv"
        assert main(["check", str(source), "--table", str(written)]) == 0
        dataset = open_dataset(written)
        assert dataset.channel_names == NAMES
        assert [case.group for case in dataset.cases] == [
            case.group for case in open_dataset(source).cases
        ]
        for number, (image, label) in enumerate(tensors(dataset)):
            assert np.array_equal(image, patient(number)[0])
            assert np.array_equal(label, patient(number)[1])
        assert main(["check", str(source), "--table", str(written)]) == 2  # never overwritten


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,group,label\na,,x\n", "no column image"),
        ("id,image,weight\na,x.nii,1\n", "unknown columns weight"),
        ("id,image\na,x.nii\nb,\n", "line 3 names no image"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(ConfigError, match=words):
        open_dataset(tmp_path / "cases.csv")


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_of_a_spreadsheet(tmp_path: Path, sign: str) -> None:
    """Check a byte order mark, another separator, a row without an id, an absent file."""
    save(tmp_path / "a.nii", patient(0)[1])
    rows = ["id,group,image,label", "one,g,a.nii,", ",,gone.nii,a.nii"]
    text = "\r\n".join(rows).replace(",", sign)
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "x"}}))
    dataset = open_dataset(tmp_path / "t.csv")
    assert [(case.id, case.group, case.label) for case in dataset.cases] == [
        ("gone", "", "a.nii"),
        ("one", "g", None),
    ]
    assert dataset.problems == {"gone.nii": "listed in t.csv, but does not exist"}
    assert dataset.labels == {0: "background", 1: "x"}


def test_a_table_for_a_folder(tmp_path: Path) -> None:
    folder_a_case(tmp_path / "data" / "odd" / "place")
    rows = ["id,image,label", "one,odd/place/p0/T1.nii.gz,odd/place/p0/lesions.nii.gz"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    out = tmp_path / "list.json"
    command = ["split", str(tmp_path / "data"), "--table", str(tmp_path / "t.csv")]
    assert main([*command, "--labelled", "1", "--test", "0", "--output", str(out)]) == 0
    assert json.loads(out.read_text())["training"][0]["image"] == "odd/place/p0/T1.nii.gz"
