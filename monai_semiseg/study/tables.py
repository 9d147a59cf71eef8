"""Tables of a study: all scores, the summary, and every pair of arms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

from monai_semiseg.evaluation.metrics import METRICS, PIXEL_METRICS, metrics_among
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import write_table
from monai_semiseg.study.results import Row, ScoreTable, Summary, metrics_of, paired
from monai_semiseg.study.statistics import Comparison, holm

_COMPARISON = (
    "difference",
    "difference_low",
    "difference_high",
    "p_holm",
    "wins",
    "difference_by_seed",
)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write ``results.csv``: a row per case, class and cell."""
    header = ["arm", "labelled", "seed", "case", "class", "name", *metrics_of(rows)]
    table = []
    for row in rows:
        scores = [f"{score:.5f}" for score in row.scores]
        table.append([row.arm, row.labelled, row.seed, row.case, row.index, row.name, *scores])
    write_table(path, header, table)


def write_summary(summaries: Sequence[Summary], folder: Path) -> None:
    """Write ``summary.csv`` and ``summary.md``."""
    metrics = _metrics(summaries)
    header = ["labelled", "arm", "seeds", *metrics, "dice_low", "dice_high", *_COMPARISON]
    table = []
    for one in summaries:
        compared = [""] * len(_COMPARISON)
        if one.against is not None:
            compared = _comparison_cells(one.against, one.p_holm, one.seed_differences)
        scores = [*(one.means[metric] for metric in metrics), *one.interval]
        numbers = [f"{score:.5f}" for score in scores]
        table.append([one.labelled, one.arm, len(one.seeds), *numbers, *compared])
    write_table(folder / "summary.csv", header, table)
    write_atomically(folder / "summary.md", as_markdown(summaries))


def write_pairs(rows: Sequence[Row], path: Path) -> None:
    """Write a row per budget and pair of arms: mean difference in Dice on the seeds both have.

    Intervals are 95 %, over test cases. Holm's correction runs over the pairs of a budget. A pair
    without a common seed has no row.
    """
    table = ScoreTable(rows)
    lines = []
    for labelled in sorted({count for _, count in table.scores}):
        lines += _pairs_of(table, labelled)
    write_table(path, ["labelled", "arm", "against", "seeds", *_COMPARISON], lines)


def _pairs_of(table: ScoreTable, labelled: int) -> list[list[str | int]]:
    """Return the rows of one budget."""
    arms = sorted(arm for arm, count in table.scores if count == labelled)
    compared = []
    for arm, other in combinations(arms, 2):
        comparison, by_seed = paired(table, arm, other, labelled)
        if comparison is not None:
            compared.append((arm, other, comparison, by_seed))
    p_values = holm([comparison.p for _, _, comparison, _ in compared])
    lines: list[list[str | int]] = []
    for (arm, other, comparison, by_seed), p in zip(compared, p_values, strict=True):
        cells = _comparison_cells(comparison, p, by_seed)
        lines.append([labelled, arm, other, len(by_seed), *cells])
    return lines


def _comparison_cells(against: Comparison, p_holm: float, by_seed: Sequence[float]) -> list[str]:
    """Return the cells of the columns of a comparison."""
    return [
        f"{against.difference:.5f}",
        *(f"{bound:.5f}" for bound in against.interval),
        f"{p_holm:.3g}",
        f"{against.wins:.3f}",
        " ".join(f"{value:.5f}" for value in by_seed),
    ]


def as_markdown(summaries: Sequence[Summary]) -> str:
    """Return a table: a row per budget and arm, with its difference to supervised learning.

    Intervals are 95 % bootstrap intervals over cases. They say nothing about other splits, so the
    difference of every split seed has its own column.
    """
    metrics = _metrics(summaries)
    unit = "px" if metrics == PIXEL_METRICS else "mm"
    head = [
        "labelled",
        "arm",
        "seeds",
        "Dice",
        "difference to supervised",
        "by seed",
        "p (Holm)",
        "wins",
        f"surface Dice 1 {unit}",
        f"95HD {unit}",
        f"ASD {unit}",
    ]
    lines = [
        _line(head),
        _line("--" for _ in head),
        *(_summary_line(one, metrics) for one in summaries),
    ]
    return "\n".join(lines) + "\n"


def _metrics(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """Return the names of the metrics that the summaries have."""
    return metrics_among(summaries[0].means) if summaries else METRICS


def _summary_line(one: Summary, metrics: Sequence[str]) -> str:
    low, high = one.interval
    against = one.against
    compared = [""] * 4
    if against is not None:
        interval = f"[{against.interval[0]:+.4f}, {against.interval[1]:+.4f}]"
        compared = [
            f"{against.difference:+.4f} {interval}",
            ", ".join(f"{value:+.4f}" for value in one.seed_differences),
            f"{one.p_holm:.2g}",
            f"{against.wins:.0%}",
        ]
    rest = [
        f"{one.means[metric]:.{digits}f}"
        for metric, digits in zip(metrics[1:], (3, 2, 2), strict=True)
    ]
    dice = f"{one.means['dice']:.4f} [{low:.4f}, {high:.4f}]"
    return _line([str(one.labelled), one.arm, str(len(one.seeds)), dice, *compared, *rest])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
