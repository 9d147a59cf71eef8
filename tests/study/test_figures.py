"""The pictures of a study: what is drawn where."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from monai_semiseg.study.figures import draw_curve, draw_differences
from monai_semiseg.study.results import Pairing, Summary
from monai_semiseg.study.statistics import Comparison


def arm(name: str, labelled: int, difference: float | None) -> Summary:
    against = None
    if difference is not None:
        comparison = Comparison(difference, (difference - 0.01, difference + 0.01), 0.5, 0.5)
        splits = (difference - 0.02, difference + 0.02)
        against = Pairing(((0, 0), (1, 0)), comparison, splits)
    return Summary(
        name,
        labelled,
        ((0, 0), (1, 0)),
        {"dice": 0.8 + (difference or 0)},
        (0.7, 0.9),
        (0.78, 0.82),
        against,
        0.5,
    )


def drawn(monkeypatch: pytest.MonkeyPatch, summaries: list[Summary], path: Path) -> Figure:
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **more: (figures.append(self), save(self, *args, **more)),
    )
    draw_differences(summaries, path)
    assert path.read_bytes()[1:4] == b"PNG"
    return figures[0]


def test_differences_by_budget_best_on_top(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    summaries = [arm("supervised", n, None) for n in (4, 8)]
    summaries += [arm("worse", 4, -0.005), arm("better", 4, 0.03), arm("better", 8, 0.001)]
    left, right = drawn(monkeypatch, summaries, tmp_path / "a.png").axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["worse", "better"]
    assert left.get_title() == "4 labelled scans" and right.get_title() == "8 labelled scans"
    intervals = [
        line.get_xdata()
        for line in left.lines
        if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"
    ]
    assert any(tuple(x) == pytest.approx((0.02, 0.04)) for x in intervals)
    dots = [tuple(line.get_xdata()) for line in left.lines if line.get_marker() == "."]
    assert dots[1] == pytest.approx((0.01, 0.05))
    colours = {
        line.get_ydata()[0]: line.get_color() for line in left.lines if line.get_marker() == "o"
    }
    assert (
        colours[0] == "grey" and colours[1] != "grey"
    )  # an interval that holds 0 is no difference


def test_nothing_to_compare_no_picture(tmp_path: Path) -> None:
    """Leave none, not even that of an earlier run, which the report would show."""
    draw_differences([arm("supervised", 4, None), arm("better", 4, 0.03)], tmp_path / "a.png")
    assert list(tmp_path.iterdir())
    draw_differences([arm("supervised", 4, None)], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_curve_has_a_line_for_all_labels(tmp_path: Path) -> None:
    few = [arm("supervised", 4, None), arm("better", 4, 0.03)]
    draw_curve(few, 20, tmp_path / "few.png")
    draw_curve([*few, arm("supervised", 20, None)], 20, tmp_path / "all.png")
    assert (tmp_path / "few.png").read_bytes() != (tmp_path / "all.png").read_bytes()
