"""Table of starts in nnU-Net: each beside nnU-Net's own random start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monai_semiseg.evaluation.bootstrap import bootstrap_interval
from monai_semiseg.study.results import Pairing, Row, ScoreTable, paired, splits_and_seeds
from monai_semiseg.study.statistics import holm


@dataclass(frozen=True)
class StartSummary:
    """One start at one number of labels.

    Attributes:
        labelled: labelled training cases.
        start: its name.
        runs: number of splits, and of training seeds of each.
        dice: mean over splits and test cases.
        interval: of it, 95 %.
        against: its difference to the reference; None for the reference, or before both are done.
        p_holm: of the difference, corrected over the starts of these labels.
    """

    labelled: int
    start: str
    runs: tuple[int, str]
    dice: float
    interval: tuple[float, float]
    against: Pairing | None = None
    p_holm: float = float("nan")


def summarise_starts(
    rows: Sequence[Row], starts: Sequence[str], reference: str
) -> list[StartSummary]:
    """Return a summary for each number of labels and start, in the order of ``starts``.

    Args:
        rows: scores of finished cells.
        starts: names.
        reference: the start that the others are compared with.
    """
    table = ScoreTable(rows)
    found = []
    for labelled in sorted({count for _, count in table.scores}):
        names = [start for start in starts if (start, labelled) in table.scores]
        pairings = {
            start: paired(table, (start, labelled), (reference, labelled))
            for start in names
            if start != reference and reference in names
        }
        compared = {start: pairing for start, pairing in pairings.items() if pairing is not None}
        p_values = holm([pairing.comparison.p for pairing in compared.values()])
        p_holm = dict(zip(compared, p_values, strict=True))
        for start in names:
            runs = table.runs_of(start, labelled)
            dice = table.by_split(start, labelled, runs)
            found.append(
                StartSummary(
                    labelled,
                    start,
                    splits_and_seeds(runs),
                    float(dice.mean()),
                    bootstrap_interval(dice, table.groups),
                    compared.get(start),
                    p_holm.get(start, float("nan")),
                )
            )
    return found


def as_markdown(summaries: Sequence[StartSummary], reference: str) -> str:
    """Return the table for a page.

    Intervals are 95 % bootstrap intervals over splits and, on their own, cases (or patients).
    """
    head = [
        *("labels", "start", "splits x seeds", "Dice", f"difference to {reference}"),
        *("by split", "Wilcoxon p per case (Holm)", "wins"),
    ]
    lines = [head, ["--"] * len(head), *map(_cells, summaries)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(one: StartSummary) -> list[str]:
    low, high = one.interval
    splits, seeds = one.runs
    compared = [""] * 4
    if one.against is not None:
        comparison = one.against.comparison
        compared = [
            comparison.as_text(),
            ", ".join(f"{value:+.4f}" for value in one.against.by_split),
            f"{one.p_holm:.2g}",
            f"{comparison.wins:.0%}",
        ]
    dice = f"{one.dice:.4f} [{low:.4f}, {high:.4f}]"
    return [str(one.labelled), one.start, f"{splits} x {seeds}", dice, *compared]
