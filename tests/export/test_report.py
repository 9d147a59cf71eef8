"""The report: one row per input, for machines (JSON) and for spreadsheets (CSV)."""

from __future__ import annotations

import csv
import itertools
import json
import os
from pathlib import Path

from monai_semiseg.export.report import CaseResult, read_report, write_report

NAMES = {0: "background", 1: "Anterior", 2: "Posterior"}
RESULTS = [
    CaseResult(
        "in/a.nii.gz",
        "done",
        "a_seg.nii.gz",
        "W_CONSTANT: flat",
        "",
        {"Anterior": 1.23456, "Posterior": 0.0},
        0.12345,
    ),
    CaseResult('in/b, or "not".nii', "failed", "", "E_FORMAT größer\nthan expected", "E_FORMAT"),
    CaseResult("in/readme.txt", "skipped", "", "not a scan"),
]


def test_json(tmp_path: Path) -> None:
    write_report(RESULTS, tmp_path, NAMES, {"tool": "x", "weights_sha256": "0" * 64})
    content = json.loads((tmp_path / "report.json").read_text())
    assert (content["tool"], content["weights_sha256"]) == ("x", "0" * 64)
    assert content["counts"] == {"done": 1, "failed": 1, "skipped": 1}
    assert [case["input"] for case in content["cases"]] == [result.input for result in RESULTS]
    assert content["cases"][0] == {
        "input": "in/a.nii.gz",
        "status": "done",
        "output": "a_seg.nii.gz",
        "reason": "W_CONSTANT: flat",
        "code": "",
        "volumes_ml": {"Anterior": 1.2346, "Posterior": 0.0},
        "seconds": 0.123,
        "memory_mb": 0,
        "measures": {},
        "flags": [],
    }
    assert content["cases"][1]["code"] == "E_FORMAT"
    assert "größer" in (tmp_path / "report.json").read_text()


def test_csv_has_a_column_per_label_and_survives_commas_quotes_and_line_breaks(
    tmp_path: Path,
) -> None:
    write_report(RESULTS, tmp_path, NAMES, {})
    rows = list(csv.DictReader((tmp_path / "report.csv").open(newline="")))
    assert list(rows[0]) == [
        "input",
        "status",
        "output",
        "reason",
        "Anterior_ml",
        "Posterior_ml",
        "seconds",
        "memory_mb",
        "Anterior_largest_share",
        "Posterior_largest_share",
        "flags",
    ]
    assert [row["input"] for row in rows] == [result.input for result in RESULTS]
    assert [row["reason"] for row in rows] == [result.reason for result in RESULTS]
    assert (rows[0]["Anterior_ml"], rows[0]["Posterior_ml"], rows[1]["Anterior_ml"]) == (
        "1.2346",
        "0.0000",
        "",
    )


def test_no_input_at_all(tmp_path: Path) -> None:
    write_report([], tmp_path / "new", NAMES, {})
    assert json.loads((tmp_path / "new" / "report.json").read_text())["cases"] == []
    assert len((tmp_path / "new" / "report.csv").read_text().splitlines()) == 1


def test_measures_and_flags(tmp_path: Path) -> None:
    result = CaseResult(
        "in/a",
        "done",
        "a_seg.nii.gz",
        volumes_ml={"Anterior": 1.0},
        measures={"Anterior": {"box": [[0, 0, 0], [3, 2, 1]], "largest_share": 0.75}},
        flags=["field_of_view", "label_volume"],
    )
    write_report([result, *RESULTS], tmp_path, NAMES, {})
    row, *others = csv.DictReader((tmp_path / "report.csv").open(newline=""))
    assert (row["Anterior_largest_share"], row["Posterior_largest_share"]) == ("0.75", "")
    assert row["flags"] == "field_of_view;label_volume"
    assert {other["flags"] for other in others} == {""}
    assert not [name for name in row if "intensity" in name]
    content = json.loads((tmp_path / "report.json").read_text())
    case = content["cases"][0]
    assert case["measures"]["Anterior"]["box"] == [[0, 0, 0], [3, 2, 1]]
    assert case["flags"] == ["field_of_view", "label_volume"]
    assert content["flags"] == {"field_of_view": 1, "label_volume": 1}


def test_hostile_names_stay_text_in_the_table_and_whole_in_the_json(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0", "@x", "\ta", "\x1b[2J", "a\u202eb", os.fsdecode(b"caf\xe9")]
    results = [CaseResult(name, "failed", reason=f"-{name}") for name in names]
    write_report(results, tmp_path, {0: "background", 1: "=1+1"}, {})
    rows = list(csv.reader((tmp_path / "report.csv").open(newline="")))
    cells = list(itertools.chain.from_iterable(rows))
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert all(cell.isprintable() for cell in cells)
    assert [row[0] for row in rows[1:3]] == ["'=cmd|' /C calc'!A0", "'@x"]
    content = json.loads((tmp_path / "report.json").read_bytes())
    assert [case["input"] for case in content["cases"]] == names
    assert "\x1b" not in (tmp_path / "report.json").read_text()


def test_areas_have_their_own_columns_and_nothing_is_called_mL(tmp_path: Path) -> None:
    photograph = CaseResult("in/a.jpg", "done", "a_seg.png", area_px={"Anterior": 31.0})
    radiograph = CaseResult("in/b.dcm", "done", "b_seg.png", area_mm2={"Anterior": 4.55555})
    write_report([photograph, radiograph, RESULTS[1]], tmp_path, NAMES, {})
    rows = list(csv.DictReader((tmp_path / "report.csv").open(newline="")))
    assert list(rows[0])[4:8] == [
        "Anterior_area_mm2",
        "Posterior_area_mm2",
        "Anterior_area_px",
        "Posterior_area_px",
    ]
    assert [row["Anterior_area_px"] for row in rows] == ["31", "", ""]
    assert [row["Anterior_area_mm2"] for row in rows] == ["", "4.5556", ""]
    assert not [name for name in rows[0] if name.endswith("_ml")]
    first, second, _ = json.loads((tmp_path / "report.json").read_text())["cases"]
    assert (first["area_px"], second["area_mm2"]) == ({"Anterior": 31.0}, {"Anterior": 4.5556})
    assert "volumes_ml" not in first and "volumes_ml" not in second


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    flagged = CaseResult(
        os.fsdecode(b"in/caf\xe9"),
        "done",
        "sub/c.seg.nrrd",
        flags=["voxel_size"],
        measures={"Anterior": {"mean_uncertainty": 0.5}},
        area_px={"Anterior": 3.0},
    )
    about = {"label_names": {"0": "background", "1": "Anterior"}, "tool": "x"}
    write_report([*RESULTS, flagged], tmp_path, NAMES, about)
    read = read_report(tmp_path)
    assert read.about["tool"] == "x" and read.names == {0: "background", 1: "Anterior"}
    assert read.masks == {"a": read.results[0], "sub/c": flagged}
    assert [result.input for result in read.results[:3]] == [result.input for result in RESULTS]
    assert [result.lacks_mask for result in read.results] == [False, True, False, False]
