"""The tables of a study: every split next to the mean, and every pair of arms."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.metrics import PIXEL_METRICS
from monai_semiseg.study.arms import LONGER
from monai_semiseg.study.results import Row, ranked, summarise
from monai_semiseg.study.tables import as_markdown, write_pairs, write_rows, write_summary


def pairs_of(rows: list[Row], folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    write_pairs(rows, folder / "pairs.csv")
    with (folder / "pairs.csv").open(newline="") as stream:
        return {
            (row["labelled"], row["arm"], row["against"]): row for row in csv.DictReader(stream)
        }


@pytest.fixture
def rows() -> list[Row]:
    """Return rows: ``a`` has splits 0 and 1, ``b`` 1 and 2, ``c`` 0 only, ``supervised`` all."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, splits in {"a": (0, 1), "b": (1, 2), "c": (0,), "supervised": (0, 1, 2)}.items():
        for split in splits:
            for case in range(7):
                for index in "12":
                    scores = (float(rng.uniform(0.6, 0.9)), 0.9, 2.0, 1.0)
                    rows.append(Row(arm, 4, split, 0, f"c{case}", index, "x", scores))
    return rows


def test_against_a_loop(rows: list[Row], tmp_path: Path) -> None:
    """Compare the mean over cases, classes and common splits; without these there is no row."""
    found = pairs_of(rows, tmp_path)
    assert {key[1:] for key in found} == {
        ("a", "b"),
        ("a", "c"),
        ("a", "supervised"),
        ("b", "supervised"),
        ("c", "supervised"),
    }
    for (_, arm, other), row in found.items():
        scores = {(one.arm, one.split, one.case, one.index): one.scores[0] for one in rows}
        shared = {split for name, split, *_ in scores if name == arm} & {
            seed for name, seed, *_ in scores if name == other
        }
        wanted = np.mean(
            [
                value - scores[other, *rest]
                for (name, *rest), value in scores.items()
                if name == arm and rest[0] in shared
            ]
        )
        assert float(row["difference"]) == pytest.approx(wanted, abs=6e-6) and int(
            row["splits"]
        ) == len(shared)
        assert float(row["difference_low"]) < wanted < float(row["difference_high"])
        assert np.mean(
            [float(part) for part in row["difference_by_split"].split()]
        ) == pytest.approx(wanted, abs=6e-6)


def test_as_in_the_summary(rows: list[Row], tmp_path: Path) -> None:
    """Check that beside supervised learning the two tables agree, up to the correction."""
    found = pairs_of(rows, tmp_path)
    summaries = summarise(rows)
    assert sum(one.against is not None for one in summaries) == 3
    for one in summaries:
        if one.against is not None:
            row = found["4", one.arm, "supervised"]
            assert float(row["difference"]) == pytest.approx(
                one.against.comparison.difference, abs=6e-6
            )
            assert [float(row["difference_low"]), float(row["difference_high"])] == pytest.approx(
                one.against.comparison.interval, abs=6e-6
            )
            assert float(row["wilcoxon_p_holm_per_case"]) >= one.against.comparison.p * 0.99


def scores_of(arm: str, by_split: dict[int, float], seed: int = 0, group: str = "") -> list[Row]:
    """Return six cases a split; cases differ by 0.01, and two are of one group."""
    rows = []
    for split, value in by_split.items():
        for case in range(6):
            scores = (value + 0.01 * case, 0.9, 2.0, 1.0)
            of = group and f"{group}{case // 2}"
            rows.append(Row(arm, 4, split, seed, f"c{case}", "1", "x", scores, group=of))
    return rows


def cells_of(line: str) -> list[str]:
    """Return cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_split_stands_beside_the_mean(tmp_path: Path) -> None:
    """List the splits that an arm and the reference have in common."""
    rows = scores_of("supervised", {0: 0.80, 1: 0.82, 2: 0.84}) + scores_of(
        "other", {0: 0.83, 2: 0.83, 7: 0.9}
    )
    summaries = summarise(sorted(rows, key=lambda row: (row.arm, row.split, row.case)))
    head, _, *lines = map(cells_of, as_markdown(summaries).splitlines())
    table = {line[1]: dict(zip(head, line, strict=True)) for line in lines}
    assert (
        table["other"]["by split"] == "+0.0300, -0.0100" and table["supervised"]["by split"] == ""
    )
    assert table["other"]["difference to supervised"].startswith("+0.0100 ")
    write_summary(summaries, tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as stream:
        written = {line["arm"]: line for line in csv.DictReader(stream)}
    assert (
        written["other"]["difference_by_split"] == "0.03000 -0.01000"
        and written["other"]["splits"] == "3"
    )
    assert written["supervised"]["difference_by_split"] == ""


def test_training_seeds_are_averaged_before_splits(tmp_path: Path) -> None:
    """Check that a split with two seeds weighs as much as one with one."""
    rows = scores_of("supervised", {0: 0.80, 1: 0.70}) + scores_of("supervised", {0: 0.84}, seed=1)
    rows += scores_of("other", {0: 0.83, 1: 0.72}) + scores_of("other", {0: 0.85}, seed=1)
    summaries = summarise(rows)
    write_summary(summaries, tmp_path, ["a note"])
    with (tmp_path / "summary.csv").open(newline="") as stream:
        other, reference = csv.DictReader(stream)
    assert float(reference["dice"]) == pytest.approx((0.82 + 0.70) / 2 + 0.025)
    assert (other["splits"], other["seeds"]) == ("2", "1-2")
    assert other["difference_by_split"] == "0.02000 0.02000"
    note, _, head, *_ = (tmp_path / "summary.md").read_text().splitlines()
    assert note == "a note" and "splits x seeds" in head and "Wilcoxon p per case" in head
    assert cells_of(as_markdown(summaries).splitlines()[2])[2] == "2 x 1-2"


def test_tables_name_groups_where_there_are_some(tmp_path: Path) -> None:
    plain = scores_of("supervised", {0: 0.8})
    grouped = scores_of("supervised", {0: 0.8}, group="p")
    for rows, found in ((plain, None), (grouped, ["p0", "p0", "p1", "p1", "p2", "p2"])):
        write_rows(rows, tmp_path / "results.csv")
        with (tmp_path / "results.csv").open(newline="") as stream:
            lines = list(csv.DictReader(stream))
        assert [line.get("group") for line in lines] == (found or [None] * 6)
        assert {(line["split"], line["seed"]) for line in lines} == {("0", "0")}
    widths = [np.ptp(summarise(rows)[0].interval) for rows in (plain, grouped)]
    assert widths[1] > widths[0]


def test_dice_of_all_voxels_together(tmp_path: Path) -> None:
    """Weigh cases by their sizes; without sizes the cell of the table is empty."""
    rows = scores_of("supervised", {0: 0.8, 1: 0.6})
    sized = [replace(row, size=float(1 + int(row.case[1:]))) for row in rows]
    expected = []
    for split in (0, 1):
        of = [row for row in sized if row.split == split]
        expected.append(sum(row.scores[0] * row.size for row in of) / sum(row.size for row in of))
    for given, found in ((sized, f"{np.mean(expected):.5f}"), (rows, "")):
        write_rows(given, tmp_path / "results.csv")
        write_summary(summarise(given), tmp_path)
        with (tmp_path / "summary.csv").open(newline="") as stream:
            (line,) = csv.DictReader(stream)
        assert line["pooled_dice"] == found
        assert (",size\n" in (tmp_path / "results.csv").read_text()) == bool(found)


def test_the_control_of_the_gates_is_in_no_ranking() -> None:
    rows = scores_of("supervised", {0: 0.8}) + scores_of(LONGER, {0: 0.9})
    assert [one.arm for one in summarise(ranked(rows))] == ["supervised"]


def test_distances_in_pixels_are_called_so(rows: list[Row], tmp_path: Path) -> None:
    pixels = [replace(row, metrics=PIXEL_METRICS) for row in rows]
    write_rows(pixels, tmp_path / "results.csv")
    write_summary(summarise(pixels), tmp_path)
    for name in ("results.csv", "summary.csv"):
        header = (tmp_path / name).read_text().splitlines()[0]
        assert ",dice,surface_dice_1px,hd95_px,asd_px" in header and "_mm" not in header
    text = (tmp_path / "summary.md").read_text()
    assert "95HD px" in text and "mm" not in text
    assert summarise(pixels)[0].means["hd95_px"] == summarise(rows)[0].means["hd95_mm"]
    with pytest.raises(ConfigError, match="in mm, others in pixels"):
        summarise([*rows, *pixels])
