"""Tables of a study: all scores, the summary, and every pair of arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from monai_semiseg.evaluation.metrics import METRICS, distance_unit, metrics_among
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import markdown_table, write_table
from monai_semiseg.study.arms import REFERENCE
from monai_semiseg.study.results import (
    Pairing,
    Row,
    ScoreTable,
    Summary,
    metrics_of,
    paired,
    splits_and_seeds,
)
from monai_semiseg.study.statistics import holm

_COMPARISON = (
    "difference",
    "difference_low",
    "difference_high",
    "wilcoxon_p_holm_per_case",
    "wins",
    "difference_by_split",
)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write ``results.csv``: a row per case, class and cell; with groups if there are some.

    ``size`` is that of label and prediction together; it has no column if some are not known.
    """
    grouped = any(row.group for row in rows)
    header = ["arm", "labelled", "split", "seed", "case", "class", "name"]
    header += ["group"] * grouped
    sized = not any(math.isnan(row.size) for row in rows)
    table = []
    for row in rows:
        run = [row.arm, row.labelled, row.split, row.seed]
        scores = [f"{score:.5f}" for score in row.scores]
        scores += [f"{row.size:.5f}"] * sized
        table.append([*run, row.case, row.index, row.name, *([row.group] * grouped), *scores])
    write_table(path, [*header, *metrics_of(rows), *(["size"] * sized)], table)


def write_summary(
    summaries: Sequence[Summary],
    folder: Path,
    notes: Sequence[str] = (),
    reference: str = REFERENCE,
) -> None:
    """Write ``summary.csv``, and ``summary.md`` with notes above its table."""
    metrics = _metrics(summaries)
    runs = ["splits", "seeds"]
    header = ["labelled", "arm", *runs, *metrics, "dice_low", "dice_high", *_COMPARISON]
    header.append("pooled_dice")
    table = []
    for one in summaries:
        compared = [""] * len(_COMPARISON)
        if one.against is not None:
            compared = _comparison_cells(one.against, one.p_holm)
        scores = [*(one.means[metric] for metric in metrics), *one.interval]
        numbers = [f"{score:.5f}" for score in scores]
        pooled = "" if math.isnan(one.pooled) else f"{one.pooled:.5f}"
        cells = [*splits_and_seeds(one.runs), *numbers, *compared, pooled]
        table.append([one.labelled, one.arm, *cells])
    write_table(folder / "summary.csv", header, table)
    above = "".join(f"{note}\n\n" for note in notes)
    write_atomically(folder / "summary.md", above + as_markdown(summaries, reference))


def write_pairs(rows: Sequence[Row], path: Path) -> None:
    """Write a row per budget and pair of arms: mean difference in Dice on the runs both have.

    Intervals are 95 %, over splits and test cases. Holm's correction runs over the pairs of a
    budget. A pair without a common split and seed has no row.
    """
    table = ScoreTable(rows)
    lines = []
    for labelled in sorted({count for _, count in table.scores}):
        lines += _pairs_of(table, labelled)
    write_table(path, ["labelled", "arm", "against", "splits", "seeds", *_COMPARISON], lines)


def _pairs_of(table: ScoreTable, labelled: int) -> list[list[str | int]]:
    """Return the rows of one budget."""
    arms = sorted(arm for arm, count in table.scores if count == labelled)
    compared = []
    for arm, other in combinations(arms, 2):
        pairing = paired(table, (arm, labelled), (other, labelled))
        if pairing is not None:
            compared.append((arm, other, pairing))
    p_values = holm([pairing.comparison.p for _, _, pairing in compared])
    lines: list[list[str | int]] = []
    for (arm, other, pairing), p in zip(compared, p_values, strict=True):
        cells = _comparison_cells(pairing, p)
        lines.append([labelled, arm, other, *splits_and_seeds(pairing.runs), *cells])
    return lines


def _comparison_cells(pairing: Pairing, p_holm: float) -> list[str]:
    """Return the cells of the columns of a comparison."""
    against = pairing.comparison
    return [
        f"{against.difference:.5f}",
        *(f"{bound:.5f}" for bound in against.interval),
        f"{p_holm:.3g}",
        f"{against.wins:.3f}",
        " ".join(f"{value:.5f}" for value in pairing.by_split),
    ]


def as_markdown(summaries: Sequence[Summary], reference: str = REFERENCE) -> str:
    """Return a table: a row per budget and arm, with its difference to the reference.

    Intervals are 95 % bootstrap intervals over splits and, on their own, cases (or patients); of
    one split, over cases alone. Few splits say little about others, so the table gives their number
    and the difference of each.
    """
    metrics = _metrics(summaries)
    unit = distance_unit(metrics)
    head = [
        "labelled",
        "arm",
        "splits x seeds",
        "Dice",
        f"difference to {reference}",
        "by split",
        "Wilcoxon p per case (Holm)",
        "wins",
        f"surface Dice 1 {unit}",
        f"95HD {unit}",
        f"ASD {unit}",
    ]
    return markdown_table(head, [_summary_cells(one, metrics) for one in summaries])


def _metrics(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """Return the names of the metrics that the summaries have."""
    return metrics_among(summaries[0].means) if summaries else METRICS


def _summary_cells(one: Summary, metrics: Sequence[str]) -> list[str]:
    low, high = one.interval
    compared = [""] * 4
    if one.against is not None:
        against = one.against.comparison
        compared = [
            against.as_text(),
            ", ".join(f"{value:+.4f}" for value in one.against.by_split),
            f"{one.p_holm:.2g}",
            f"{against.wins:.0%}",
        ]
    rest = [
        f"{one.means[metric]:.{digits}f}"
        for metric, digits in zip(metrics[1:], (3, 2, 2), strict=True)
    ]
    dice = f"{one.means['dice']:.4f} [{low:.4f}, {high:.4f}]"
    splits, seeds = splits_and_seeds(one.runs)
    return [str(one.labelled), one.arm, f"{splits} x {seeds}", dice, *compared, *rest]
