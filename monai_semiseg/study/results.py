"""Finished cells -> rows, a summary with paired comparisons, and the answer in words."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monai_semiseg.evaluation.metrics import METRICS
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import write_table
from monai_semiseg.study.cell import Job
from monai_semiseg.study.grid import REFERENCE
from monai_semiseg.study.statistics import (
    Array,
    Comparison,
    bootstrap_means,
    compare,
    holm,
    interval_of,
)


@dataclass(frozen=True)
class Row:
    """The scores of one class of one test case in one cell."""

    arm: str
    labelled: int
    seed: int
    case: str
    index: str
    name: str
    scores: tuple[float, ...]  # in the order of METRICS


@dataclass(frozen=True)
class Summary:
    """One arm at one budget.

    Attributes:
        arm, labelled: which.
        seeds: finished seeds.
        means: metric -> mean over cases of the mean over classes and seeds.
        interval: of the mean Dice, 95 %, over cases.
        seed_means: mean Dice of every seed, sorted.
        against: the comparison with the reference on the seeds that both have; None if there is
            none.
        p_holm: its p-value, corrected over the arms of this budget.
        seed_differences: mean difference of every seed that both have, in the order of the seeds.
        reference: the arm that it is compared with.
    """

    arm: str
    labelled: int
    seeds: tuple[int, ...]
    means: dict[str, float]
    interval: tuple[float, float]
    seed_means: tuple[float, ...]
    against: Comparison | None = None
    p_holm: float = math.nan
    seed_differences: tuple[float, ...] = ()
    reference: str = REFERENCE


def read_rows(jobs: Sequence[Job]) -> list[Row]:
    """Rows of all finished cells, in a fixed order."""
    rows = []
    for job in jobs:
        if not job.done:
            continue
        with (job.folder / "test" / "metrics.csv").open(newline="") as stream:
            for line in csv.DictReader(stream):
                scores = tuple(float(line[metric]) for metric in METRICS)
                cell = job.cell
                rows.append(
                    Row(
                        cell.arm.name,
                        cell.labelled,
                        cell.seed,
                        line["case"],
                        line["class"],
                        line["name"],
                        scores,
                    )
                )
    return sorted(rows, key=lambda row: (row.labelled, row.arm, row.seed, row.case, row.index))


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write ``results.csv``: a row per case, class and cell."""
    header = ["arm", "labelled", "seed", "case", "class", "name", *METRICS]
    table = []
    for row in rows:
        scores = [f"{score:.5f}" for score in row.scores]
        table.append([row.arm, row.labelled, row.seed, row.case, row.index, row.name, *scores])
    write_table(path, header, table)


class Table:
    """Scores by arm and budget, averaged over classes: metric -> ``(seeds, cases)``."""

    def __init__(self, rows: Sequence[Row]) -> None:
        grouped: dict[tuple[str, int], dict[int, dict[str, list[tuple[float, ...]]]]] = {}
        for row in rows:
            seeds = grouped.setdefault((row.arm, row.labelled), {})
            seeds.setdefault(row.seed, {}).setdefault(row.case, []).append(row.scores)
        self.scores = {
            key: {
                seed: {case: np.mean(values, axis=0) for case, values in cases.items()}
                for seed, cases in seeds.items()
            }
            for key, seeds in grouped.items()
        }

    def per_case(self, arm: str, labelled: int, seeds: Sequence[int], metric: int = 0) -> Array:
        """One value per case, averaged over seeds; cases in sorted order."""
        by_seed = self.scores[arm, labelled]
        cases = sorted(by_seed[seeds[0]])
        return np.asarray(
            [np.mean([by_seed[seed][case][metric] for seed in seeds]) for case in cases]
        )


def reference_of(arm: str, arms: Sequence[str]) -> str:
    """What an arm is compared with.

    Supervised learning from the same start if it was run, else from random weights, as is
    supervised learning itself from any other start: its difference is what the start is worth.
    """
    method, _, start = arm.partition("+")
    same = f"{REFERENCE}+{start}"
    return same if start and method != REFERENCE and same in arms else REFERENCE


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """One summary per arm and budget; Holm's correction runs over the arms of a budget."""
    table, result = Table(rows), list[Summary]()
    for labelled in sorted({key[1] for key in table.scores}):
        arms = sorted(arm for arm, n in table.scores if n == labelled)
        part = [_summary(table, arm, labelled, arms) for arm in arms]
        corrected = iter(holm([one.against.p for one in part if one.against]))
        result += [one if one.against is None else _with_p(one, next(corrected)) for one in part]
    return result


def _summary(table: Table, arm: str, labelled: int, arms: Sequence[str]) -> Summary:
    seeds = tuple(sorted(table.scores[arm, labelled]))
    dice = table.per_case(arm, labelled, seeds)
    reference, against = reference_of(arm, arms), None
    differences: tuple[float, ...] = ()
    if reference in arms and reference != arm:
        against, differences = paired(table, arm, reference, labelled)
    means = {
        name: float(table.per_case(arm, labelled, seeds, index).mean())
        for index, name in enumerate(METRICS)
    }
    each = tuple(sorted(float(table.per_case(arm, labelled, [seed]).mean()) for seed in seeds))
    interval = interval_of(bootstrap_means(dice))
    return Summary(
        arm,
        labelled,
        seeds,
        means,
        interval,
        each,
        against,
        seed_differences=differences,
        reference=reference,
    )


def paired(
    table: Table, arm: str, other: str, labelled: int
) -> tuple[Comparison | None, tuple[float, ...]]:
    """An arm beside another one on the split seeds that both have (None without one), and every seed's difference."""
    shared = sorted(set(table.scores[arm, labelled]) & set(table.scores[other, labelled]))
    if not shared:
        return None, ()
    by_seed = tuple(
        float(
            (table.per_case(arm, labelled, [seed]) - table.per_case(other, labelled, [seed])).mean()
        )
        for seed in shared
    )
    return compare(
        table.per_case(arm, labelled, shared), table.per_case(other, labelled, shared)
    ), by_seed


def _with_p(one: Summary, p: float) -> Summary:
    return replace(one, p_holm=p)


def write_summary(summaries: Sequence[Summary], folder: Path) -> None:
    """Write ``summary.csv`` and ``summary.md``."""
    header = [
        "labelled",
        "arm",
        "seeds",
        *METRICS,
        "dice_low",
        "dice_high",
        "difference",
        "difference_low",
        "difference_high",
        "p_holm",
        "wins",
        "difference_by_seed",
    ]
    table = []
    for one in summaries:
        c = one.against
        paired = (
            [""] * 6
            if c is None
            else [
                f"{c.difference:.5f}",
                *(f"{v:.5f}" for v in c.interval),
                f"{one.p_holm:.3g}",
                f"{c.wins:.3f}",
                " ".join(f"{v:.5f}" for v in one.seed_differences),
            ]
        )
        means = [f"{one.means[metric]:.5f}" for metric in METRICS]
        table.append(
            [
                one.labelled,
                one.arm,
                len(one.seeds),
                *means,
                *(f"{v:.5f}" for v in one.interval),
                *paired,
            ]
        )
    write_table(folder / "summary.csv", header, table)
    write_atomically(folder / "summary.md", as_markdown(summaries))


def as_markdown(summaries: Sequence[Summary]) -> str:
    """A table per budget; differences are to supervised learning, with 95 % bootstrap intervals over cases.

    The intervals say nothing about other splits, so every split seed's difference stands beside
    them.
    """
    head = [
        "labelled",
        "arm",
        "seeds",
        "Dice",
        "difference to supervised",
        "by seed",
        "p (Holm)",
        "wins",
        "surface Dice 1 mm",
        "95HD mm",
        "ASD mm",
    ]
    lines = [_line(head), _line("--" for _ in head)]
    for one in summaries:
        c, (low, high) = one.against, one.interval
        paired = [""] * 4
        if c is not None:
            interval = f"[{c.interval[0]:+.4f}, {c.interval[1]:+.4f}]"
            by_seed = ", ".join(f"{value:+.4f}" for value in one.seed_differences)
            paired = [
                f"{c.difference:+.4f} {interval}",
                by_seed,
                f"{one.p_holm:.2g}",
                f"{c.wins:.0%}",
            ]
        rest = [
            f"{one.means[metric]:.{digits}f}"
            for metric, digits in zip(METRICS[1:], (3, 2, 2), strict=True)
        ]
        dice = f"{one.means['dice']:.4f} [{low:.4f}, {high:.4f}]"
        lines.append(_line([str(one.labelled), one.arm, str(len(one.seeds)), dice, *paired, *rest]))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
