"""The tables of a study: every split seed next to the mean, and every pair of arms."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from monai_semiseg.study.results import Row, summarise
from monai_semiseg.study.tables import as_markdown, write_pairs, write_summary


def pairs_of(rows: list[Row], folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    write_pairs(rows, folder / "pairs.csv")
    with (folder / "pairs.csv").open(newline="") as stream:
        return {
            (row["labelled"], row["arm"], row["against"]): row for row in csv.DictReader(stream)
        }


@pytest.fixture
def rows() -> list[Row]:
    """Arm ``a`` has seeds 0 and 1, ``b`` 1 and 2, ``c`` 0 only; ``supervised`` all."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, seeds in {"a": (0, 1), "b": (1, 2), "c": (0,), "supervised": (0, 1, 2)}.items():
        for seed in seeds:
            for case in range(7):
                for index in "12":
                    scores = (float(rng.uniform(0.6, 0.9)), 0.9, 2.0, 1.0)
                    rows.append(Row(arm, 4, seed, f"c{case}", index, "x", scores))
    return rows


def test_against_a_loop(rows: list[Row], tmp_path: Path) -> None:
    """The mean difference over cases, classes and common seeds; no row without a common seed."""
    found = pairs_of(rows, tmp_path)
    assert {key[1:] for key in found} == {
        ("a", "b"),
        ("a", "c"),
        ("a", "supervised"),
        ("b", "supervised"),
        ("c", "supervised"),
    }
    for (_, arm, other), row in found.items():
        scores = {(one.arm, one.seed, one.case, one.index): one.scores[0] for one in rows}
        shared = {seed for name, seed, *_ in scores if name == arm} & {
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
            row["seeds"]
        ) == len(shared)
        assert float(row["difference_low"]) < wanted < float(row["difference_high"])
        assert np.mean(
            [float(part) for part in row["difference_by_seed"].split()]
        ) == pytest.approx(wanted, abs=6e-6)


def test_as_in_the_summary(rows: list[Row], tmp_path: Path) -> None:
    """Beside supervised learning the two tables agree, up to the correction over more pairs."""
    found = pairs_of(rows, tmp_path)
    for one in summarise(rows):
        if one.against is not None:
            row = found["4", one.arm, "supervised"]
            assert float(row["difference"]) == pytest.approx(one.against.difference, abs=6e-6)
            assert [float(row["difference_low"]), float(row["difference_high"])] == pytest.approx(
                one.against.interval, abs=6e-6
            )
            assert float(row["p_holm"]) >= one.against.p * 0.99


def scores_of(arm: str, by_seed: dict[int, float]) -> list[Row]:
    """Six cases a seed; cases differ by 0.01."""
    rows = []
    for seed, value in by_seed.items():
        for case in range(6):
            scores = (value + 0.01 * case, 0.9, 2.0, 1.0)
            rows.append(Row(arm, 4, seed, f"c{case}", "1", "x", scores))
    return rows


def cells_of(line: str) -> list[str]:
    """Cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_seed_stands_beside_the_mean(tmp_path: Path) -> None:
    """The seeds that an arm and the reference have in common."""
    rows = scores_of("supervised", {0: 0.80, 1: 0.82, 2: 0.84}) + scores_of(
        "other", {0: 0.83, 2: 0.83, 7: 0.9}
    )
    summaries = summarise(sorted(rows, key=lambda row: (row.arm, row.seed, row.case)))
    head, _, *lines = map(cells_of, as_markdown(summaries).splitlines())
    table = {line[1]: dict(zip(head, line, strict=True)) for line in lines}
    assert table["other"]["by seed"] == "+0.0300, -0.0100" and table["supervised"]["by seed"] == ""
    assert table["other"]["difference to supervised"].startswith("+0.0100 ")
    write_summary(summaries, tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as stream:
        written = {line["arm"]: line for line in csv.DictReader(stream)}
    assert (
        written["other"]["difference_by_seed"] == "0.03000 -0.01000"
        and written["other"]["seeds"] == "3"
    )
    assert written["supervised"]["difference_by_seed"] == ""
