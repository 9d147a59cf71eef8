"""Every arm beside every other one, as the summary puts each beside supervised learning."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from monai_semiseg.storage.tables import write_table
from monai_semiseg.study.results import Row, Table, paired
from monai_semiseg.study.statistics import holm


def write_pairs(rows: Sequence[Row], path: Path) -> None:
    """Write a row per budget and pair of arms: mean difference in Dice on the split seeds that both have.

    Intervals are 95 %, over test cases. Holm's correction runs over the pairs of a budget. A pair
    without a shared seed has no row.
    """
    table = Table(rows)
    lines = []
    header = [
        "labelled",
        "arm",
        "against",
        "seeds",
        "difference",
        "difference_low",
        "difference_high",
        "p_holm",
        "wins",
        "difference_by_seed",
    ]
    for labelled in sorted({n for _, n in table.scores}):
        arms = sorted(arm for arm, n in table.scores if n == labelled)
        found = [
            (arm, other, *paired(table, arm, other, labelled))
            for arm, other in combinations(arms, 2)
        ]
        compared = [(arm, other, by_seed, c) for arm, other, c, by_seed in found if c is not None]
        for (arm, other, by_seed, c), p in zip(
            compared, holm([c.p for *_, c in compared]), strict=True
        ):
            numbers = [f"{value:.5f}" for value in (c.difference, *c.interval)]
            lines.append(
                [
                    labelled,
                    arm,
                    other,
                    len(by_seed),
                    *numbers,
                    f"{p:.3g}",
                    f"{c.wins:.3f}",
                    " ".join(f"{value:.5f}" for value in by_seed),
                ]
            )
    write_table(path, header, lines)
