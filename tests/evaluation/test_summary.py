"""Means with intervals, and the tables that carry them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.bootstrap import bootstrap_interval
from monai_semiseg.evaluation.metrics import METRICS, CaseScore
from monai_semiseg.evaluation.summary import (
    ScoreRow,
    as_table,
    summarise,
    write_scores,
)


def row(case: str, index: int, dice: float, distance: float = 2.0) -> ScoreRow:
    return ScoreRow(
        case, index, f"class{index}", CaseScore(dice, dice / 2, distance, distance / 4, 1.0, 1.5)
    )


ROWS = [
    row("a", 1, 0.8),
    row("a", 2, 0.4),
    row("b", 1, 0.6, 6.0),
    row("b", 2, 1.0, 0.0),
    row("c", 1, 0.7),
]


def test_summary_means_are_per_class_and_per_case_first() -> None:
    summary = summarise(ROWS)
    assert summary["cases"] == 3
    assert summary["classes"]["class1"]["dice"]["mean"] == pytest.approx(0.7)
    assert summary["classes"]["class2"]["dice"]["mean"] == pytest.approx(0.7)
    assert summary["classes"]["class1"]["hd95_mm"]["mean"] == pytest.approx((2 + 6 + 2) / 3)
    # Case c has one class: its mean weighs as much as the others'.
    assert summary["foreground"]["dice"]["mean"] == pytest.approx((0.6 + 0.8 + 0.7) / 3)
    assert set(summary["foreground"]) == set(METRICS)
    low, high = summary["foreground"]["dice"]["interval_95"]
    assert 0.6 - 1e-9 <= low < 0.7 < high <= 0.8 + 1e-9


def test_all_voxels_together_weigh_large_structures_more(tmp_path: Path) -> None:
    """Compare with counts of voxels: 30 of 40 + 40, and 1 of 2 + 2."""
    large, small = (0.75, 40.0), (0.5, 2.0)
    rows = [
        ScoreRow(str(n), 1, "organ", CaseScore(dice, 0, 0, 0, size, size))
        for n, (dice, size) in enumerate((large, small))
    ]
    summary = write_scores(rows, tmp_path, {})
    assert summary["pooled_dice"] == {"organ": pytest.approx(2 * (30 + 1) / (80 + 4))}
    assert json.loads((tmp_path / "metrics.json").read_text())["pooled_dice"]["organ"] < 0.74
    empty = [ScoreRow("a", 1, "organ", CaseScore(1, 1, 0, 0, 0, 0))]
    assert summarise(empty)["pooled_dice"] == {"organ": 1.0}


def test_patients_with_several_scans(tmp_path: Path) -> None:
    """Check that means stay over cases; intervals are over patients, and the table names them."""
    dice = [0.5, 0.52, 0.9, 0.92, 0.7, 0.72]
    plain = [row(f"c{n}", 1, value) for n, value in enumerate(dice)]
    grouped = [replace(one, group=f"p{n // 2}") for n, one in enumerate(plain)]
    alone, together = (summarise(rows)["foreground"]["dice"] for rows in (plain, grouped))
    assert alone["mean"] == together["mean"] == pytest.approx(np.mean(dice))
    assert np.ptp(together["interval_95"]) > 1.2 * np.ptp(alone["interval_95"])
    assert alone["interval_95"] == list(bootstrap_interval(np.array([dice])))
    write_scores(grouped, tmp_path, {})
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [r["group"] for r in rows] == ["p0", "p0", "p1", "p1", "p2", "p2"]


def test_files(tmp_path: Path) -> None:
    summary = write_scores(ROWS, tmp_path, {"weights": "w.pt"})
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(r["case"], r["class"], r["name"]) for r in rows] == [
        (r.case, str(r.index), r.name) for r in ROWS
    ]
    assert list(rows[0])[3:] == [
        "dice",
        "surface_dice_1mm",
        "hd95_mm",
        "asd_mm",
        "label_ml",
        "pred_ml",
    ]
    assert [float(rows[2][name]) for name in list(rows[0])[3:]] == [0.6, 0.3, 6.0, 1.5, 1.0, 1.5]
    assert json.loads((tmp_path / "metrics.json").read_text()) == summary
    assert summary["weights"] == "w.pt"


def test_one_case_gives_json_that_every_reader_takes(tmp_path: Path) -> None:
    """Write no NaN: JSON knows none, but Python writes it all the same."""

    def refuse(name: str) -> float:
        raise AssertionError(name)

    summary = write_scores(ROWS[:2], tmp_path, {})
    content = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert content["foreground"]["dice"] == {"mean": pytest.approx(0.6), "interval_95": None}
    assert as_table(summary).splitlines()[-1] == "| mean foreground | 0.600 | 0.300 | 2.00 | 0.50 |"


def test_no_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no case was scored"):
        write_scores([], tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_table() -> None:
    lines = as_table(summarise(ROWS)).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "class1",
        "class2",
        "mean foreground",
    ]
    assert lines[3].split("|")[2].strip() == "0.700 [0.400, 1.000]"
    assert {line.count("|") for line in lines} == {6}
