"""The study's page: names from outside stay text."""

from __future__ import annotations

from pathlib import Path

from monai_semiseg.study.report import write_html
from monai_semiseg.study.results import Summary

MEANS = {"dice": 0.5, "surface_dice_1mm": 0.5, "hd95_mm": 1.0, "asd_mm": 1.0}


def test_names_of_arms_and_sentences_stay_text(tmp_path: Path) -> None:
    hostile = "<script>\x1b[2J\u202e"
    one = Summary(hostile, 4, ((0, 0),), MEANS, (0.4, 0.6), (0.5,))
    write_html([one], [f"{hostile} is best"], [], tmp_path)
    page = (tmp_path / "report.html").read_text()
    shown = "&lt;script&gt;\\x1b[2J\\u202e"
    assert page.count(shown) == 2 and "<script>" not in page
    assert "\x1b" not in page and "\u202e" not in page
