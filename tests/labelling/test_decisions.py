"""Decisions on masks: kept whole, read back from spreadsheets, and about one mask only."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.export.report import read_report
from monai_semiseg.labelling.decisions import (
    Decision,
    accepted_masks,
    read_decisions,
    write_decisions,
)
from tests.labelling.review_builders import write_run


def test_no_file_is_no_decision(tmp_path: Path) -> None:
    assert read_decisions(tmp_path) == {}


def test_odd_names_and_notes_come_back(tmp_path: Path) -> None:
    mask = tmp_path / "mask"
    mask.write_bytes(b"mask")
    notes = ["=1+1", "'quoted", 'two\nlines, "and" more;', "größer", "", "-3"]
    made = {
        f"=case{n}": Decision.now(f"=case{n}", "rejected", note, mask)
        for n, note in enumerate(notes)
    }
    path = write_decisions(tmp_path, made)
    assert read_decisions(tmp_path) == made
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["id", "decision", "time", "note", "mask_sha256"]
    assert all(row[0].startswith("'=") for row in rows[1:]) and rows[1][3] == "'=1+1"


def test_a_spreadsheet_may_have_saved_it(tmp_path: Path) -> None:
    text = "\ufeffid;decision;time;note\r\na/b;accepted;31.08.2026 14:05;gut\r\nc;rejected;;\r\n"
    (tmp_path / "decisions.csv").write_bytes(text.encode())
    found = read_decisions(tmp_path)
    assert found["a/b"] == Decision("a/b", "accepted", "31.08.2026 14:05", "gut")
    assert found["c"].decision == "rejected"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,decision\na,accepted\nb,maybe\n", "line 3: id 'b', decision 'maybe'"),
        ("id,decision\n,accepted\n", "line 2"),
        ("case,verdict\na,accepted\n", "columns case, verdict"),
        ("", "columns missing"),
    ],
    ids=["decision", "id", "columns", "empty"],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "decisions.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"decisions\.csv") as caught:
        read_decisions(tmp_path)
    assert words in str(caught.value)


def test_accepted_masks_are_those_that_were_looked_at(tmp_path: Path) -> None:
    out = write_run(tmp_path)
    report = read_report(out)
    masks = {case: out / result.output for case, result in report.masks.items()}
    made = {case: Decision.now(case, "accepted", "", mask) for case, mask in masks.items()}
    made["c"] = Decision.now("c", "needs_correction", "", masks["c"])
    made["gone"] = Decision("gone", "accepted")
    write_decisions(out, made)
    accepted, left_out = accepted_masks(report)
    assert accepted == {case: masks[case] for case in ("sub/a", "b")}
    assert list(left_out) == ["gone"]
    masks["b"].write_bytes(b"another mask")
    masks["sub/a"].unlink()
    accepted, left_out = accepted_masks(report)
    assert accepted == {} and set(left_out) == {"b", "sub/a", "gone"}
    assert "changed or removed since" in left_out["b"]
