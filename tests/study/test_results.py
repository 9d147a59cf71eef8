"""The tables of a study: what is compared with what, and every split seed beside the mean."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from monai_semiseg.study.results import Row, as_markdown, reference_of, summarise, write_summary


def rows_of(arm: str, by_seed: dict[int, float]) -> list[Row]:
    """Six cases a seed; cases differ by 0.01."""
    return [
        Row(arm, 4, seed, f"c{case}", "1", "x", (value + 0.01 * case, 0.9, 2.0, 1.0))
        for seed, value in by_seed.items()
        for case in range(6)
    ]


def test_every_seed_stands_beside_the_mean(tmp_path: Path) -> None:
    """Of an arm that has other seeds than the reference, those that both have."""
    rows = rows_of("supervised", {0: 0.80, 1: 0.82, 2: 0.84}) + rows_of(
        "other", {0: 0.83, 2: 0.83, 7: 0.9}
    )
    summaries = summarise(sorted(rows, key=lambda row: (row.arm, row.seed, row.case)))
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in as_markdown(summaries).splitlines()
    ]
    table = {line[1]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}
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


@pytest.mark.parametrize(
    ("arm", "reference"),
    [
        ("supervised", "supervised"),
        ("supervised+hebbian", "supervised"),
        ("mean_teacher", "supervised"),
        ("mean_teacher+hebbian", "supervised+hebbian"),
        ("mean_teacher+contrastive", "supervised"),
    ],
)
def test_reference(arm: str, reference: str) -> None:
    arms = [
        "supervised",
        "supervised+hebbian",
        "mean_teacher",
        "mean_teacher+hebbian",
        "mean_teacher+contrastive",
    ]
    assert reference_of(arm, arms) == reference
