"""Conversion to nnU-Net and the Decathlon: the same tensors, links, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_semiseg.cli.main import main
from monai_semiseg.datasets import convert as module
from monai_semiseg.datasets.convert import convert
from monai_semiseg.datasets.dataset import ScanDataset, open_dataset
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.valid_cases import valid_cases
from monai_semiseg.errors import ConfigError, OutputError
from monai_semiseg.images.scan import read_scan
from tests.layout_builders import (
    NAMES,
    bids,
    decathlon,
    folder_a_case,
    nnunet,
    table,
)

Array = np.ndarray[Any, Any]


def voxels(dataset: ScanDataset) -> list[tuple[Array, Array, Array | None]]:
    """Return image, affine and label of each case with a label file, in the order of the cases."""
    found = []
    for case in dataset.cases:
        image = read_scan(case.image_paths(dataset.root), channels=dataset.channel_names)
        label = None
        if case.label is not None:
            label = read_label(dataset.root / str(case.label), dataset.label_rule).array
        found.append((image.array, image.affine, label))
    return found


@pytest.mark.parametrize("to", ["nnunet", "decathlon"])
@pytest.mark.parametrize("layout", [folder_a_case, nnunet, decathlon, bids, table])
def test_a_round_trip_gives_the_same_tensors(layout: Any, to: str, tmp_path: Path) -> None:
    source = layout(tmp_path / "from")
    assert main(["convert", str(source), "--to", to, "--output", str(tmp_path / "new")]) == 0
    before, after = open_dataset(source), open_dataset(tmp_path / "new")
    assert after.problems == {} and after.channel_names == NAMES
    for one, other in zip(voxels(before), voxels(after), strict=True):
        for array, again in zip(one, other, strict=True):
            assert np.array_equal(np.asarray(array), np.asarray(again))
    record = json.loads((tmp_path / "new" / "conversion.json").read_text())
    assert list(record["cases"].values()) == [case.id for case in before.cases]
    files = list((tmp_path / "new").rglob("*.nii.gz"))
    same = (to == "nnunet") != (layout is decathlon)
    images = [file for file in files if "images" in file.parent.name]
    assert {file.is_symlink() for file in images} == {same}
    assert all(file.is_symlink() for file in files if "labels" in file.parent.name)


@pytest.mark.parametrize("to", ["nnunet", "decathlon"])
def test_labels_are_voxel_for_voxel_as_their_images(to: str, tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "from" / kind).mkdir(parents=True)
    voxels = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    image = nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0]))
    label = nib.Nifti1Image((voxels > 0).astype(np.uint8), image.affine)
    turned = label.as_reoriented(nib.orientations.axcodes2ornt("PLS"))  # checked as it lies
    nib.save(image, tmp_path / "from" / "images" / "a.nii.gz")
    nib.save(turned, tmp_path / "from" / "labels" / "a.nii.gz")
    new = tmp_path / "new"
    assert main(["convert", str(tmp_path / "from"), "--to", to, "--output", str(new)]) == 0
    (written,) = (new / "imagesTr").iterdir()
    found = nib.load(new / "labelsTr" / "a.nii.gz")
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(nib.load(written).dataobj) > 0)
    assert np.allclose(found.affine, nib.load(written).affine)


def pictures(root: Path, values: tuple[int, ...] = (0, 255)) -> Path:
    """Return two colour JPEG with masks, one of them turned by its EXIF tag.

    One without a mask.
    """
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(3):
        image = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 1 else 1
        image.save(root / "images" / f"{number}.jpg", exif=exif)
        size = (16, 12) if number == 1 else (12, 16)  # a mask without the tag, as it is shown
        mask = np.asarray(values, np.uint8)[rng.integers(0, len(values), size)]
        if number < 2:
            Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


def test_pictures_for_nnunet_are_png_with_consecutive_labels(tmp_path: Path) -> None:
    source = pictures(tmp_path / "from")
    assert main(["convert", str(source), "--to", "nnunet", "--output", str(tmp_path / "n")]) == 0
    names = sorted(str(file.relative_to(tmp_path / "n")) for file in tmp_path.rglob("n/*/*"))
    assert names == [
        "imagesTr/0_0000.png",
        "imagesTr/1_0000.png",
        "imagesTs/2_0000.png",
        "labelsTr/0.png",
        "labelsTr/1.png",
    ]
    content = json.loads((tmp_path / "n" / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "red", "1": "green", "2": "blue"}
    assert content["labels"] == {"background": 0, "label_255": 1}
    assert (content["numTraining"], content["file_ending"]) == (2, ".png")
    record = json.loads((tmp_path / "n" / "conversion.json").read_text())
    assert record["labels"] == {"0": 0, "255": 1}
    for number, turns in (("0", 0), ("1", 3)):
        shown = np.rot90(np.asarray(Image.open(source / "images" / f"{number}.jpg")), turns)
        written = np.asarray(Image.open(tmp_path / "n" / "imagesTr" / f"{number}_0000.png"))
        assert np.array_equal(written, shown)
        mask = np.asarray(Image.open(source / "masks" / f"{number}.png"))
        new = np.asarray(Image.open(tmp_path / "n" / "labelsTr" / f"{number}.png"))
        assert np.array_equal(new, mask // 255)
    again = valid_cases(open_dataset(tmp_path / "n"), progress=False)
    assert again.left_out == {} and again.dataset.spatial_dims == 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_png_that_is_none_or_is_turned_is_written_anew(kind: str, tmp_path: Path) -> None:
    """Write pixels as a viewer shows them, because nnU-Net ignores the EXIF tag."""
    source = pictures(tmp_path / "from")
    shown = np.rot90(np.asarray(Image.open(source / "images" / "1.jpg")), 3)
    for file in list((source / "images").iterdir()):
        with Image.open(file) as old:
            old.load()
            exif = old.getexif()
        file.unlink()
        old.save(file.with_suffix(".png"), kind, exif=exif)
    assert main(["convert", str(source), "--to", "nnunet", "--output", str(tmp_path / "n")]) == 0
    written = tmp_path / "n" / "imagesTr" / "1_0000.png"
    with Image.open(written) as new:
        assert new.format == "PNG" and new.getexif().get(0x0112, 1) == 1
        assert new.size == shown.shape[1::-1] and (kind == "JPEG" or np.array_equal(new, shown))
    plain = tmp_path / "n" / "imagesTr" / "0_0000.png"
    assert plain.is_symlink() == (kind == "PNG")


def test_pictures_for_the_decathlon_stay(tmp_path: Path) -> None:
    source = pictures(tmp_path / "from")
    command = ["convert", str(source), "--to", "decathlon", "--output", str(tmp_path / "d")]
    assert main([*command, "--group", r"(\d)"]) == 0
    dataset = open_dataset(tmp_path / "d")
    assert [case.group for case in dataset.cases] == ["0", "1", "2"]
    assert dataset.cases[2].label is None and dataset.labels == {0: "background", 255: "label_255"}
    before = open_dataset(source)
    for one, other in zip(voxels(before), voxels(dataset), strict=True):
        assert np.array_equal(one[0], other[0])
        sums = [None if case[2] is None else case[2].sum() for case in (one, other)]
        assert sums[0] == sums[1]
    assert all(file.is_symlink() for file in (tmp_path / "d" / "imagesTr").iterdir())


def test_ignore_is_the_last_label_of_nnunet(tmp_path: Path) -> None:
    source = nnunet(tmp_path / "from")
    content = json.loads((source / "dataset.json").read_text())
    content["labels"] = {"background": 0, "ignore": 1, "lesion": 4}
    (source / "dataset.json").write_text(json.dumps(content))
    dataset = open_dataset(source)
    path = source / str(dataset.cases[0].label)
    values = np.asarray(nib.load(path).dataobj)
    values[1, 1, 1] = 4
    nib.save(nib.Nifti1Image(values, nib.load(path).affine), path)
    convert(dataset, "nnunet", tmp_path / "n", progress=False)
    written = json.loads((tmp_path / "n" / "dataset.json").read_text())
    assert written["labels"] == {"background": 0, "lesion": 1, "ignore": 2}
    new = np.asarray(nib.load(tmp_path / "n" / "labelsTr" / path.name).dataobj)
    assert np.array_equal(new, np.select([values == 4, values == 1], [1, 2], 0))


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder_a_case(tmp_path / "from")
    for output in (tmp_path / "taken", source / "inside"):
        if output.name == "taken":
            output.mkdir()
        assert main(["convert", str(source), "--to", "nnunet", "--output", str(output)]) == 2
    assert list((tmp_path / "taken").iterdir()) == [] and not (source / "inside").exists()
    said = capsys.readouterr().err
    assert "exists" in said and "lies inside the data set" in said


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(folder_a_case(tmp_path / "from"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_image", full)
    with pytest.raises(OutputError, match="No space"):
        convert(dataset, "decathlon", tmp_path / "new", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["from"]


def test_ids_with_folders_are_names_of_files(tmp_path: Path) -> None:
    """Name two cases ``a/b`` and ``a_b``; the record says which became which."""
    for name in ("a/b", "a_b"):
        folder_a_case(tmp_path / "from" / name)
    dataset = open_dataset(tmp_path / "from")
    convert(dataset, "nnunet", tmp_path / "new", progress=False)
    record = json.loads((tmp_path / "new" / "conversion.json").read_text())
    assert record["cases"]["a_b_p0"] == "a/b/p0" and record["cases"]["a_b_p0_2"] == "a_b/p0"
    assert len(open_dataset(tmp_path / "new").cases) == 6


def test_what_is_not_sound_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder_a_case(tmp_path / "from")
    (source / "p1" / "T1.nii.gz").write_bytes(b"nothing")
    command = ["convert", str(source), "--to", "nnunet", "--output", str(tmp_path / "new")]
    assert main(command) == 3
    assert "left out: p1" in capsys.readouterr().err
    assert [case.id for case in open_dataset(tmp_path / "new").cases] == ["p0", "p2"]


def test_another_layout_has_no_name(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["convert", str(tmp_path), "--to", "zip", "--output", "x"])
    with pytest.raises(ConfigError, match="exists"):
        convert(open_dataset(folder_a_case(tmp_path)), "nnunet", tmp_path, progress=False)
