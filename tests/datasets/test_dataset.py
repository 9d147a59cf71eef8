"""Layouts of data sets: what is read, and what is refused with what was seen."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.datalist import load_datalist, read_datalist, write_datalist
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.split import split
from monai_semiseg.errors import ConfigError

V2: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "ignore": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


@pytest.fixture
def scan(make: SimpleNamespace, tmp_path: Path) -> Any:
    """Name below ``tmp_path`` -> a scan there; in a folder of labels, a label map."""

    def write(name: str) -> Path:
        file: Path = make.nifti(tmp_path / name)
        if name.startswith("labels"):
            label = np.zeros((7, 6, 5), np.uint8)
            label[2:4] = 1
            nib.save(nib.Nifti1Image(label, nib.load(file).affine), file)
        return file

    return write


def describe(root: Path, content: dict[str, Any]) -> None:
    (root / "dataset.json").write_text(json.dumps(content))


def pairs(root: Path) -> dict[str, tuple[str, str | None]]:
    return {case.id: (case.image, case.label) for case in open_dataset(root).cases}


@pytest.fixture
def nnunet(scan: Any, tmp_path: Path) -> Path:
    """Write three labelled scans, one without a label, and one for testing."""
    for n in range(4):
        scan(f"imagesTr/c{n}_0000.nii.gz")
    for n in range(3):
        scan(f"labelsTr/c{n}.nii.gz")
    scan("imagesTs/t_0000.nii.gz")
    return tmp_path


def test_nnunet_v2(nnunet: Path) -> None:
    describe(nnunet, V2)
    dataset = open_dataset(nnunet)
    assert dataset.labels == {0: "background", 1: "liver", 2: "ignore"}
    assert (dataset.modality, dataset.problems) == ("CT", {})
    assert [(case.image, case.label) for case in dataset.cases] == [
        (f"imagesTr/c{n}_0000.nii.gz", f"labelsTr/c{n}.nii.gz" if n < 3 else None) for n in range(4)
    ]


def test_nnunet_v2_with_a_list_of_files(scan: Any, tmp_path: Path) -> None:
    scan("a/x.nii.gz"), scan("b/x.nii.gz")
    files = {"case": {"images": ["a/x.nii.gz"], "label": "b/x.nii.gz"}}
    describe(tmp_path, {**V2, "numTraining": 1, "dataset": files})
    assert pairs(tmp_path) == {"x": ("a/x.nii.gz", "b/x.nii.gz")}


def test_nnunet_v2_counts(nnunet: Path) -> None:
    describe(nnunet, {**V2, "numTraining": 5})
    assert open_dataset(nnunet).problems == {
        "dataset.json": "numTraining is 5, 3 scans have a label"
    }
    assert main(["check", str(nnunet)]) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, r"region labels \(whole\)"),
        ({"labels": {"background": "none"}}, r"dataset.json: labels \{"),
    ],
)
def test_nnunet_v2_refused(nnunet: Path, change: dict[str, Any], words: str) -> None:
    describe(nnunet, {**V2, **change})
    with pytest.raises(ConfigError, match=words):
        open_dataset(nnunet)


def test_channels_that_the_decathlon_lists(scan: Any, tmp_path: Path) -> None:
    """Check both forms: in one entry they are one case, in two entries they are left out."""
    for name in ("a_T1", "a_foo", "b", "c"):
        scan(f"i/{name}.nii")
        scan(f"l/{name[0]}.nii")
    label = {"label": "l/a.nii"}
    one = {"image": ["i/a_T1.nii", "i/a_foo.nii"], **label}
    describe(tmp_path, {"modality": {"0": "T1", "1": "foo"}, "training": [one]})
    dataset = open_dataset(tmp_path)
    assert dataset.channel_names == ("T1", "foo") and dataset.problems == {}
    assert pairs(tmp_path) == {"a": (("i/a_T1.nii", "i/a_foo.nii"), "l/a.nii")}
    each = [{"image": image, **label} for image in one["image"]]
    others = [{"image": ["i/b.nii"], "label": "l/b.nii"}, {"image": "i/c.nii"}]
    describe(tmp_path, {"training": [*each, *others]})
    assert {*pairs(tmp_path)} == {"b", "c"}
    what = "one of 2 channels of a (a_T1.nii, a_foo.nii), each in an entry; list them in one entry"
    assert open_dataset(tmp_path).problems == dict.fromkeys(("a_T1", "a_foo"), what)


def test_a_folder_without_a_scan_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for verb in (["check"], ["split", "--labelled", "1"], ["plan"]):
        assert main([*verb, str(tmp_path)]) == 2


def test_nnunet_v1_leaves_the_channel_out(nnunet: Path) -> None:
    entry = {"image": "./imagesTr/c0.nii.gz", "label": "./labelsTr/c0.nii.gz"}
    describe(nnunet, {"labels": {"0": "background"}, "training": [entry]})
    assert pairs(nnunet) == {"c0_0000": ("imagesTr/c0_0000.nii.gz", "labelsTr/c0.nii.gz")}
    (nnunet / "imagesTr/c1_0000.nii.gz").rename(nnunet / "imagesTr/c0_0001.nii.gz")
    assert pairs(nnunet) == {
        "c0": (("imagesTr/c0_0000.nii.gz", "imagesTr/c0_0001.nii.gz"), "labelsTr/c0.nii.gz")
    }


def test_windows_paths(scan: Any, tmp_path: Path) -> None:
    scan("imagesTr/a.nii.gz"), scan("labelsTr/a.nii.gz")
    entry = {"image": ".\\imagesTr\\a.nii.gz", "label": "labelsTr\\a.nii.gz"}
    describe(tmp_path, {"training": [entry]})
    assert pairs(tmp_path) == {"a": ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz")}
    for drive in ("C:\\data\\imagesTr\\", "D:/imagesTr/", "\\\\server\\imagesTr\\"):
        describe(tmp_path, {"training": [f"{drive}a.nii.gz"]})
        with pytest.raises(ConfigError, match="a path on a Windows drive"):
            open_dataset(tmp_path)


def test_a_backslash_may_be_part_of_a_name(scan: Any, tmp_path: Path) -> None:
    scan("imagesTr/a\\b.nii.gz")
    describe(tmp_path, {"training": ["imagesTr/a\\b.nii.gz"]})
    assert [case.image for case in open_dataset(tmp_path).cases] == ["imagesTr/a\\b.nii.gz"]


CHANNELS = [
    [f"c{n}_000{channel}" for n, channel in itertools.product(range(3), range(4))],
    ["c0_FLAIR", "c0_T1", "c1_FLAIR", "c1_T1"],
    ["c0-t1c", "c0-t2w", "c1-t1c"],
    [f"c{n}_{word}" for n in range(3) for word in ("early", "late")],
    [f"c{n}_000{number}" for n in range(3) for number in (1, 2)],
]


@pytest.mark.parametrize("names", CHANNELS)
def test_a_folder_of_channels(scan: Any, tmp_path: Path, names: list[str]) -> None:
    """Check that files of one stem are the channels of one case, in the order of their names."""
    for name in reversed(names):
        scan(f"images/{name}.nii.gz")
    for n in range(3):
        scan(f"labels/c{n}.nii.gz")
    dataset = open_dataset(tmp_path)
    words = sorted({re.sub(r"c\d[_-]", "", name) for name in names}, key=str.casefold)
    assert dataset.channel_names == tuple(words)
    whole = {n for n in range(3) if sum(f"c{n}" in name for name in names) == len(words)}
    assert {case.id for case in dataset.cases} == {f"c{n}" for n in whole}
    for case in dataset.cases:
        assert case.label == f"labels/{case.id}.nii.gz"
        assert [Path(file).name[3:-7] for file in case.image] == words
    lacking = {key: text for key, text in dataset.problems.items() if text.startswith("lacks")}
    assert lacking.keys() == {"c1"} - {f"c{n}" for n in whole}


@pytest.mark.parametrize("number", range(4))
def test_a_case_without_one_of_four_channels_is_left_out_by_name(
    scan: Any, tmp_path: Path, number: int
) -> None:
    for n, channel in itertools.product(range(3), range(4)):
        if (n, channel) != (1, number):
            scan(f"imagesTr/c{n}_{channel:04}.nii.gz")
    names = {str(n): name for n, name in enumerate(("FLAIR", "T1", "T1ce", "T2"))}
    describe(tmp_path, {**V2, "channel_names": names, "numTraining": 0})
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["c0", "c2"]
    assert dataset.channel_names == tuple(names.values())
    assert dataset.problems["c1"].startswith(f"lacks {names[str(number)]}: 3 channels of c1 (")


def test_channels_beside_scans_are_left_out(scan: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "c_0000", "c_0001"):
        scan(f"images/{name}.nii.gz")
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["a", "b"]
    what = "2 channels of c (0000, 0001), the data set has one channel without a name"
    assert dataset.problems == {"c": f"has 0000, 0001: {what}"}


def test_one_contrast_is_a_scan(scan: Any, tmp_path: Path) -> None:
    scan("images/a_FLAIR.nii.gz"), scan("labels/a.nii.gz")
    scan("images/b_FLAIR.nii.gz"), scan("labels/b_FLAIR.nii.gz")
    assert pairs(tmp_path) == {
        "a_FLAIR": ("images/a_FLAIR.nii.gz", "labels/a.nii.gz"),
        "b_FLAIR": ("images/b_FLAIR.nii.gz", "labels/b_FLAIR.nii.gz"),
    }
    assert open_dataset(tmp_path).problems == {}


@pytest.mark.parametrize("shape", [(9, 8, 1), (9, 1, 8)])
def test_one_slice_is_a_2d_image(make: SimpleNamespace, tmp_path: Path, shape: Any) -> None:
    for n in range(3):
        make.nifti(tmp_path / "images" / f"{n}.nii", shape=shape)
    report = check_dataset(open_dataset(tmp_path), progress=False)
    assert report.errors == [] and report.dataset.spatial_dims == 2


@pytest.mark.parametrize("verb", ["check", "split", "plan", "convert"])
def test_a_mixed_data_set_is_refused_with_both_counts(
    make: SimpleNamespace, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(5):
        make.nifti(tmp_path / "d" / "images" / f"{n}.nii", shape=(9, 8, 1 if n < 2 else 7))
    more = {"split": ["--labelled", "1"], "convert": ["--to", "nnunet"]}.get(verb, [])
    more += [] if verb == "check" else ["--output", str(tmp_path / "out")]
    assert main([verb, str(tmp_path / "d"), *more]) == 2
    said = "".join(capsys.readouterr())
    assert "2 images of one slice (2-D, such as " in said
    assert "and 3 of several (3-D, such as " in said and not (tmp_path / "out").exists()


def test_names_that_are_no_text(make: SimpleNamespace, tmp_path: Path) -> None:
    """Read them from folders, a dataset.json with the same bytes, and a datalist."""
    odd = os.fsdecode(b"caf\xe9.nii")
    for folder in ("imagesTr", "labelsTr"):
        for n, name in enumerate(("a.nii", odd)):
            make.nifti(tmp_path / folder / f"{n}.nii").rename(tmp_path / folder / name)
    plain = open_dataset(tmp_path)
    assert [case.id for case in plain.cases] == ["a", "caf\\xe9"]
    entry = b'{"training": [{"image": "imagesTr/caf\xe9.nii", "label": "labelsTr/caf\xe9.nii"}]}'
    (tmp_path / "dataset.json").write_bytes(entry)
    listed = open_dataset(tmp_path)
    assert listed.cases == plain.cases[1:] and listed.problems == {}
    datalist = write_datalist(split(plain, labelled=1, test=1), tmp_path / "list.json")
    assert datalist.read_bytes().decode().isascii()
    entries = read_datalist(datalist, tmp_path, "training")
    entries += read_datalist(datalist, tmp_path, "test")
    assert {os.fsencode(Path(entry["image"]).name) for entry in entries} == {
        b"a.nii",
        b"caf\xe9.nii",
    }
    for entry in entries:
        assert all(Path(name).is_file() for name in entry.values())


def test_a_dangling_link_is_an_error(
    make: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(3):
        make.nifti(tmp_path / "images" / f"{n}.nii")
    (tmp_path / "images" / "gone.nii").symlink_to("/nowhere/x.nii")
    assert main(["check", str(tmp_path)]) == 2
    assert "a broken link to /nowhere/x.nii" in capsys.readouterr().out


def test_what_is_left_out_stands_in_the_datalist(
    scan: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(4):
        scan(f"images/{n}.nii"), scan(f"labels/{n}.nii")
    (tmp_path / "images" / "2.nii").write_text("no scan")
    output = tmp_path / "list.json"
    command = ["split", str(tmp_path), "--labelled", "2", "--test", "1", "--output", str(output)]
    assert main(command) == 3
    assert "left out: 2: E_NOT_NIFTI" in capsys.readouterr().err
    content = load_datalist(output)
    assert list(content["left_out"]) == ["2"]
    parts = [part for part in content.values() if isinstance(part, list)]
    named = [entry["image"] for entry in itertools.chain.from_iterable(parts)]
    assert sorted(named) == [f"images/{n}.nii" for n in (0, 1, 3)]
    scan("images/2.nii")
    assert main([*command, "--overwrite"]) == 0
    assert "left_out" not in load_datalist(output)
    for n in range(4):
        (tmp_path / "images" / f"{n}.nii").write_text("no scan")
    assert main(command) == 2
    assert main(["plan", str(tmp_path), "--output", str(tmp_path / "plan.yaml")]) == 2
