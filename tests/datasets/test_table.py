"""Tables that list cases: written, read back, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from tests.layout_builders import (
    NAMES,
    bids,
    decathlon,
    folder_a_case,
    patient,
    save,
    tensors,
)


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


def test_a_table_has_the_labels_and_sides_of_its_folder(tmp_path: Path) -> None:
    """Training mirrors nothing whose sides the folder declares, however its cases are listed."""
    save(tmp_path / "a.nii", patient(0)[1])
    declared = {"labels": {"0": "background", "1": "hippocampus"}, "sides": True}
    (tmp_path / "dataset.json").write_text(json.dumps(declared))
    (tmp_path / "cases.csv").write_text("id,image\na,a.nii\n")
    for dataset in (
        open_dataset(tmp_path / "cases.csv"),
        open_dataset(tmp_path, table=tmp_path / "cases.csv"),
    ):
        assert dataset.sides is True and dataset.labels == {0: "background", 1: "hippocampus"}


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
