"""Take the table back from a spreadsheet: separators, sorted and removed rows, hostile names."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.selection import Chosen, Selection
from monai_semiseg.labelling.selection_table import read_selection, write_selection

CASES = [DatasetCase(name, f"{name}.nii") for name in ("=1+1", "b", "c", "d")]
DATASET = ScanDataset(Path(), "d", "", {}, CASES)
SELECTION = Selection(
    "kmedoids",
    [Chosen(CASES[0], 0.123456, "of the chosen"), Chosen(CASES[1], None, "of the chosen")],
    {"c": 'unlike; "quoted", with commas'},
    {"d": "b"},
    [],
    {},
    [],
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = write_selection(SELECTION, DATASET, tmp_path / "t.csv")
    assert read_selection(table) == ["=1+1", "b"]
    first, second, third, *_ = table.read_text().splitlines()[1:]
    assert first.startswith("1,'=1+1,,'=1+1.nii,kmedoids,0.1235,label,")  # text, not a formula
    assert second.split(",")[5] == "" and third.startswith(",c,,c.nii,,,set apart,")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("\ufeffrank;id;status\n2;b;label\n1;a;label\n;c;set apart\n", ["b", "a"]),
        ("id\nx\ny\n", ["x", "y"]),
        ("id\tstatus\nx\tlabel\n\t\n", ["x"]),
    ],
    ids=["semicolons", "ids alone", "tabs"],
)
def test_tables_of_spreadsheets(text: str, ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert read_selection(tmp_path / "t.csv") == ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name\na\n", "a column id"),
        ("id,status\na,set apart\n", "no row with status label"),
        ("id\na\na\n", "names a twice"),
        (None, "no such file"),
    ],
    ids=["no id", "nothing to label", "twice", "absent"],
)
def test_tables_that_are_none(text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_selection(tmp_path / "t.csv")
