"""Every arm beside every other one."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from monai_semiseg.study.pairs import write_pairs
from monai_semiseg.study.results import Row, summarise


def pairs_of(rows: list[Row], folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    write_pairs(rows, folder / "pairs.csv")
    with (folder / "pairs.csv").open(newline="") as stream:
        return {
            (row["labelled"], row["arm"], row["against"]): row for row in csv.DictReader(stream)
        }


@pytest.fixture
def rows() -> list[Row]:
    """Arm ``a`` has seeds 0 and 1, ``b`` 1 and 2, ``c`` 0 only; ``supervised`` all."""
    rng, seeds = (
        np.random.default_rng(0),
        {"a": (0, 1), "b": (1, 2), "c": (0,), "supervised": (0, 1, 2)},
    )
    return [
        Row(arm, 4, seed, f"c{case}", index, "x", (float(rng.uniform(0.6, 0.9)), 0.9, 2.0, 1.0))
        for arm in seeds
        for seed in seeds[arm]
        for case in range(7)
        for index in "12"
    ]


def test_against_a_loop(rows: list[Row], tmp_path: Path) -> None:
    """Mean over the cases, classes and shared seeds of the one, less the other's; nothing where no seed is shared."""
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
    summaries = summarise(rows)
    assert sum(one.against is not None for one in summaries) == 3
    for one in summaries:
        if one.against is not None:
            row = found["4", one.arm, "supervised"]
            assert float(row["difference"]) == pytest.approx(one.against.difference, abs=6e-6)
            assert [float(row["difference_low"]), float(row["difference_high"])] == pytest.approx(
                one.against.interval, abs=6e-6
            )
            assert float(row["p_holm"]) >= one.against.p * 0.99
