"""Scores of finished cells, and a summary with paired comparisons for every arm and budget."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.metrics import METRICS, metrics_among
from monai_semiseg.study.arms import REFERENCE
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.outcome import CellOutcome
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
    scores: tuple[float, ...]  # in the order of the metrics
    metrics: tuple[str, ...] = METRICS  # in mm or in pixels


@dataclass(frozen=True)
class Summary:
    """One arm at one budget.

    Attributes:
        arm: its name.
        labelled: the budget.
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


def read_rows(specs: Sequence[CellSpec]) -> list[Row]:
    """Return the rows of all finished cells, in a fixed order."""
    rows = []
    for spec in specs:
        if CellOutcome(spec).done:
            rows += _rows_of(spec)
    return sorted(rows, key=lambda row: (row.labelled, row.arm, row.seed, row.case, row.index))


def _rows_of(spec: CellSpec) -> list[Row]:
    cell = spec.cell
    rows = []
    with (spec.folder / "test" / "metrics.csv").open(newline="") as stream:
        table = csv.DictReader(stream)
        metrics = metrics_among(table.fieldnames or ())
        for line in table:
            scores = tuple(float(line[metric]) for metric in metrics)
            score_of = (line["case"], line["class"], line["name"])
            rows.append(Row(cell.arm.name, cell.labelled, cell.seed, *score_of, scores, metrics))
    return rows


def metrics_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the names of the metrics of a study's rows.

    Raises:
        ConfigError: If some are in mm and others in pixels.
    """
    found = {row.metrics for row in rows} or {METRICS}
    if len(found) > 1:
        raise ConfigError(
            "some cells have distances in mm, others in pixels",
            expected="test scans with one unit",
            remedy="evaluate all cells on the same test scans",
        )
    return found.pop()


class ScoreTable:
    """Scores averaged over classes, by arm, budget, seed and case.

    Attributes:
        scores: (arm, budget) -> seed -> case -> one value per metric.
        metrics: their names.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.metrics = metrics_of(rows)
        grouped: dict[tuple[str, int, int, str], list[tuple[float, ...]]] = {}
        for row in rows:
            key = (row.arm, row.labelled, row.seed, row.case)
            grouped.setdefault(key, []).append(row.scores)
        self.scores: dict[tuple[str, int], dict[int, dict[str, Array]]] = {}
        for (arm, labelled, seed, case), values in grouped.items():
            seeds = self.scores.setdefault((arm, labelled), {})
            seeds.setdefault(seed, {})[case] = np.mean(values, axis=0)

    def per_case(self, arm: str, labelled: int, seeds: Sequence[int], metric: int = 0) -> Array:
        """Return one value per case, averaged over seeds; cases in sorted order."""
        by_seed = self.scores[arm, labelled]
        means = []
        for case in sorted(by_seed[seeds[0]]):
            means.append(np.mean([by_seed[seed][case][metric] for seed in seeds]))
        return np.asarray(means)

    def seeds_of(self, arm: str, labelled: int) -> list[int]:
        """Return the finished seeds of an arm at a budget, sorted."""
        return sorted(self.scores[arm, labelled])


def reference_of(arm: str, arms: Sequence[str]) -> str:
    """Return the name of the arm that an arm is compared with.

    Supervised learning from the same initial weights if it was run, else from random weights, as is
    supervised learning itself from other initial weights: its difference is what they are worth.
    """
    method, _, start = arm.partition("+")
    same = f"{REFERENCE}+{start}"
    return same if start and method != REFERENCE and same in arms else REFERENCE


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Return one summary per arm and budget; Holm's correction runs over the arms of a budget."""
    table = ScoreTable(rows)
    summaries = []
    for labelled in sorted({key[1] for key in table.scores}):
        arms = sorted(arm for arm, count in table.scores if count == labelled)
        summaries += _corrected([_summary(table, arm, labelled, arms) for arm in arms])
    return summaries


def _corrected(summaries: Sequence[Summary]) -> list[Summary]:
    """Return the summaries of a budget with corrected p-values."""
    p_values = iter(holm([one.against.p for one in summaries if one.against]))
    corrected = []
    for one in summaries:
        corrected.append(replace(one, p_holm=next(p_values)) if one.against else one)
    return corrected


def _summary(table: ScoreTable, arm: str, labelled: int, arms: Sequence[str]) -> Summary:
    seeds = table.seeds_of(arm, labelled)
    reference = reference_of(arm, arms)
    against: Comparison | None = None
    differences: tuple[float, ...] = ()
    if reference in arms and reference != arm:
        against, differences = paired(table, arm, reference, labelled)
    means = {
        name: float(table.per_case(arm, labelled, seeds, index).mean())
        for index, name in enumerate(table.metrics)
    }
    seed_means = [float(table.per_case(arm, labelled, [seed]).mean()) for seed in seeds]
    return Summary(
        arm,
        labelled,
        tuple(seeds),
        means,
        interval_of(bootstrap_means(table.per_case(arm, labelled, seeds))),
        tuple(sorted(seed_means)),
        against,
        seed_differences=differences,
        reference=reference,
    )


def paired(
    table: ScoreTable, arm: str, other: str, labelled: int
) -> tuple[Comparison | None, tuple[float, ...]]:
    """Compare two arms on the split seeds that both have.

    Returns:
        The comparison, None without a common seed; and the mean difference of every common seed.
    """
    shared = sorted(set(table.scores[arm, labelled]) & set(table.scores[other, labelled]))
    if not shared:
        return None, ()
    by_seed = []
    for seed in shared:
        values = table.per_case(arm, labelled, [seed])
        by_seed.append(float((values - table.per_case(other, labelled, [seed])).mean()))
    comparison = compare(
        table.per_case(arm, labelled, shared), table.per_case(other, labelled, shared)
    )
    return comparison, tuple(by_seed)
