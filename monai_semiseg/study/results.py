"""Scores of finished cells, and a summary with paired comparisons for every arm and budget."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.bootstrap import Array, bootstrap_interval, group_key
from monai_semiseg.evaluation.metrics import METRICS, metrics_among, pooled_dice
from monai_semiseg.study.arms import LONGER, REFERENCE
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.grid import Split
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.statistics import Comparison, compare, holm

Run = tuple[Split, int]  # split and training seed


@dataclass(frozen=True)
class Row:
    """The scores of one class of one test case in one cell."""

    arm: str
    labelled: int
    split: Split
    seed: int
    case: str
    index: str
    name: str
    scores: tuple[float, ...]  # in the order of the metrics
    metrics: tuple[str, ...] = METRICS  # in mm or in pixels
    group: str = ""  # such as the patient; empty if nobody declares one
    size: float = math.nan  # of label and prediction together; NaN if it is not known


@dataclass(frozen=True)
class Pairing:
    """Two arms at one budget, on the splits and training seeds that both have.

    Attributes:
        runs: these splits and seeds, sorted.
        comparison: over splits and cases.
        by_split: mean difference of every split, averaged over its seeds.
    """

    runs: tuple[Run, ...]
    comparison: Comparison
    by_split: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """One arm at one budget.

    Attributes:
        arm: its name.
        labelled: the budget.
        runs: finished splits and training seeds, sorted.
        means: metric -> mean over cases and splits of the mean over classes and training seeds.
        interval: of the mean Dice, 95 %, over splits and cases.
        split_means: mean Dice of every split, sorted.
        against: the comparison with the reference; None if there is none.
        p_holm: its p-value, corrected over the arms of this budget.
        reference: the arm that it is compared with.
        pooled: Dice over the voxels of all cases together, mean over classes and runs; NaN if the
            sizes of the masks are not known.
    """

    arm: str
    labelled: int
    runs: tuple[Run, ...]
    means: dict[str, float]
    interval: tuple[float, float]
    split_means: tuple[float, ...]
    against: Pairing | None = None
    p_holm: float = math.nan
    reference: str = REFERENCE
    pooled: float = math.nan


def splits_and_seeds(runs: Sequence[Run]) -> tuple[int, str]:
    """Return the number of splits, and that of training seeds for each, such as 2 or 1-2."""
    seeds = Counter(split for split, _ in runs)
    counts = sorted(set(seeds.values()))
    return len(seeds), "-".join(map(str, counts[:1] + counts[1:][-1:]))


def read_rows(specs: Sequence[CellSpec]) -> list[Row]:
    """Return the rows of all finished cells, in a fixed order."""
    rows = []
    for spec in specs:
        if CellOutcome(spec).done:
            rows += rows_of(spec)
    return sorted(
        rows, key=lambda row: (row.labelled, row.arm, row.split, row.seed, row.case, row.index)
    )


def rows_of(spec: CellSpec) -> list[Row]:
    """Return the rows of one finished cell."""
    cell = spec.cell
    rows = []
    with (spec.folder / "test" / "metrics.csv").open(newline="") as stream:
        table = csv.DictReader(stream)
        for line in table:
            run = (cell.arm.name, cell.labelled, cell.split, cell.seed)
            rows.append(row_of(line, *run))
    return rows


def row_of(line: Mapping[str, str], arm: str, labelled: int, split: Split, seed: int) -> Row:
    """Return a line of ``metrics.csv`` or ``results.csv`` as a row of this cell."""
    metrics = metrics_among(line)
    scores = tuple(float(line[metric]) for metric in metrics)
    score_of = (line["case"], line["class"], line["name"])
    run = (arm, labelled, split, seed)
    return Row(*run, *score_of, scores, metrics, line.get("group") or "", _size_in(line))


def _size_in(line: Mapping[str, str]) -> float:
    """Return the size of label and prediction together; an imported cell has the sum."""
    if "size" in line:
        return float(line["size"])
    sizes = [float(line[name]) for name in line if name.startswith(("label_", "pred_"))]
    return sum(sizes) if sizes else math.nan


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without those of the control for the gates, which takes part in no table."""
    return [row for row in rows if row.arm != LONGER]


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
    """Scores averaged over classes, by arm, budget, split, training seed and case.

    Attributes:
        scores: (arm, budget) -> (split, seed) -> case -> one value per metric.
        pooled: (arm, budget) -> Dice over the voxels of all cases together.
        metrics: their names.
        cases: test cases, sorted; every finished cell has scored all of them.
        groups: group of every case.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.metrics = metrics_of(rows)
        grouped: dict[tuple[str, int, Run, str], list[tuple[float, ...]]] = {}
        for row in rows:
            key = (row.arm, row.labelled, (row.split, row.seed), row.case)
            grouped.setdefault(key, []).append(row.scores)
        self.pooled = _pooled(rows)
        self.scores: dict[tuple[str, int], dict[Run, dict[str, Array]]] = {}
        for (arm, labelled, run, case), values in grouped.items():
            runs = self.scores.setdefault((arm, labelled), {})
            runs.setdefault(run, {})[case] = np.mean(values, axis=0)
        group_of = {row.case: group_key(row.case, row.group) for row in rows}
        self.cases = sorted(group_of)
        self.groups = [group_of[case] for case in self.cases]

    def runs_of(self, arm: str, labelled: int) -> list[Run]:
        """Return the finished splits and seeds of an arm at a budget, sorted; empty if none is."""
        return sorted(self.scores.get((arm, labelled), ()))

    def by_split(self, arm: str, labelled: int, runs: Sequence[Run], metric: int = 0) -> Array:
        """Return ``(splits, cases)``: scores averaged over the training seeds of each split."""
        found = self.scores[arm, labelled]
        rows = []
        for wanted in sorted({split for split, _ in runs}):
            of_split = [found[run] for run in runs if run[0] == wanted]
            rows.append([np.mean([one[case][metric] for one in of_split]) for case in self.cases])
        return np.asarray(rows)

    def budgets_of(self, arm: str) -> list[int]:
        """Return the budgets of an arm with a finished cell, sorted."""
        return sorted(count for name, count in self.scores if name == arm)

    def curve_of(self, arm: str) -> tuple[list[int], list[Array]]:
        """Return the budgets of an arm, and its Dice at each, ``(splits, cases)``."""
        budgets = self.budgets_of(arm)
        return budgets, [self.by_split(arm, count, self.runs_of(arm, count)) for count in budgets]


def _pooled(rows: Sequence[Row]) -> dict[tuple[str, int], float]:
    """Return (arm, budget) -> mean over classes and runs of the Dice of all cases together."""
    cases: dict[tuple[str, int, Run, str], list[Row]] = {}
    for row in rows:
        run = (row.split, row.seed)
        cases.setdefault((row.arm, row.labelled, run, row.index), []).append(row)
    dice: dict[tuple[str, int], list[float]] = {}
    for (arm, labelled, _, _), of in cases.items():
        value = pooled_dice([row.scores[0] for row in of], [row.size for row in of])
        dice.setdefault((arm, labelled), []).append(value)
    return {key: float(np.mean(values)) for key, values in dice.items()}


def reference_of(arm: str, arms: Sequence[str]) -> str:
    """Return the name of the arm that an arm is compared with.

    Supervised learning from the same initial weights if it was run, else from random weights, as is
    supervised learning itself from other initial weights: its difference is what they are worth.
    """
    method, _, start = arm.partition("+")
    same = f"{REFERENCE}+{start}"
    return same if start and method != REFERENCE and same in arms else REFERENCE


def summarise(rows: Sequence[Row], reference: str | None = None) -> list[Summary]:
    """Return one summary per arm and budget; Holm's correction runs over the arms of a budget.

    Args:
        rows: scores of finished cells.
        reference: the arm that the others are compared with; None: see :func:`reference_of`.
    """
    table = ScoreTable(rows)
    summaries = []
    for labelled in sorted({key[1] for key in table.scores}):
        arms = sorted(arm for arm, count in table.scores if count == labelled)
        found = []
        for arm in arms:
            other = reference_of(arm, arms) if reference is None else reference
            found.append(_summary(table, arm, labelled, other))
        summaries += _corrected(found)
    return summaries


def _corrected(summaries: Sequence[Summary]) -> list[Summary]:
    """Return the summaries of a budget with corrected p-values."""
    p_values = iter(holm([one.against.comparison.p for one in summaries if one.against]))
    corrected = []
    for one in summaries:
        corrected.append(replace(one, p_holm=next(p_values)) if one.against else one)
    return corrected


def _summary(table: ScoreTable, arm: str, labelled: int, reference: str) -> Summary:
    runs = table.runs_of(arm, labelled)
    against = None
    if reference != arm:  # paired() is None without a run of the reference
        against = paired(table, (arm, labelled), (reference, labelled))
    means = {
        name: float(table.by_split(arm, labelled, runs, index).mean())
        for index, name in enumerate(table.metrics)
    }
    dice = table.by_split(arm, labelled, runs)
    return Summary(
        arm,
        labelled,
        tuple(runs),
        means,
        bootstrap_interval(dice, table.groups),
        tuple(sorted(float(mean) for mean in dice.mean(1))),
        against,
        reference=reference,
        pooled=table.pooled[arm, labelled],
    )


def paired(table: ScoreTable, one: tuple[str, int], other: tuple[str, int]) -> Pairing | None:
    """Compare two arms, or one arm at two budgets, on the splits and seeds that both have.

    Args:
        table: of the scores.
        one: name of the arm, and its budget.
        other: the same for the reference.

    Returns:
        None without a common split and seed.
    """
    shared = sorted(set(table.runs_of(*one)) & set(table.runs_of(*other)))
    if not shared:
        return None
    scores, reference = (table.by_split(*which, shared) for which in (one, other))
    by_split = (scores - reference).mean(1)
    comparison = compare(scores, reference, table.groups)
    return Pairing(tuple(shared), comparison, tuple(float(value) for value in by_split))
