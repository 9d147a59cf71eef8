"""CSV tables that a spreadsheet shows and does not run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_semiseg.plain_text import printable
from monai_semiseg.storage.tables import (
    cell_text,
    markdown_table,
    quoted_cell,
    safe_cell,
    write_table,
)


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|' /C calc'!A0",
        "+1+cmd",
        "-2+3",
        "@SUM(A1)",
        " =1",
        "\n=1",
        "＝1",
        "-",
        "-x_seg.nii.gz",
        "- 1 a",
    ],
)
def test_formulas_are_text(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert safe_cell(safe_cell(text)) == safe_cell(text)


@pytest.mark.parametrize("start", ["\t=1", "\r=1", "\x1b[0m", "\x00=1"])
def test_control_characters_are_shown(start: str) -> None:
    assert safe_cell(start).startswith("\\x")


@pytest.mark.parametrize(
    "cell",
    ["-3.2", "+1e-5", "-inf", "-0.00123 0.00312 -1", "", "a=b", "a\nb", "-3.2 ", -3.2, 7, None],
)
def test_numbers_and_plain_text_stay(cell: object) -> None:
    assert safe_cell(cell) == cell


@given(st.text())
def test_an_exact_cell_is_no_formula_and_comes_back(text: str) -> None:
    cell = quoted_cell(text)
    assert safe_cell(cell) == printable(cell, keep="\n"), "a spreadsheet takes it for text"
    assert cell_text(cell) == text


def test_an_exact_table_keeps_names_that_are_not_utf8(tmp_path: Path) -> None:
    names = ["=a.nii", "b\udcff.nii", "'c", "tab\t"]
    path = write_table(tmp_path / "t.csv", ["image"], [[name] for name in names], exact=True)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    rows = list(csv.reader(text.splitlines()))[1:]
    assert [cell_text(row[0]) for row in rows] == names


def test_header_and_rows(tmp_path: Path) -> None:
    names = ["case", "=label_ml"]
    rows = [["=1", "-1.5"], ['a, "b"\nc', 2.5]]
    path = write_table(tmp_path / "sub" / "t.csv", names, rows)
    assert list(csv.reader(path.open(newline=""))) == [
        ["case", "'=label_ml"],
        ["'=1", "-1.5"],
        ['a, "b"\nc', "2.5"],
    ]
    assert b"\r" not in path.read_bytes()


def test_the_package_writes_tables_nowhere_else() -> None:
    package = Path(__file__).resolve().parents[2] / "monai_semiseg"
    writers = ("csv.writer", "csv.DictWriter", "to_csv")
    found = [
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if any(word in file.read_text() for word in writers)
    ]
    assert found == ["storage/tables.py"]


def test_a_table_for_a_page() -> None:
    assert markdown_table(["", "Dice"], [["a", 0.5], ["b", "-"]]) == (
        "|  | Dice |\n| -- | -- |\n| a | 0.5 |\n| b | - |\n"
    )
