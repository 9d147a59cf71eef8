"""The study's answer in words: the best method, its gain, and the labels that it saves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from monai_semiseg.study.arms import REFERENCE
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.provenance import UNKNOWN
from monai_semiseg.study.results import (
    Pairing,
    Row,
    Run,
    ScoreTable,
    Summary,
    splits_and_seeds,
)
from monai_semiseg.study.statistics import expected_gain, labels_needed


def answer(
    rows: Sequence[Row], summaries: Sequence[Summary], full: int, more: int | None = None
) -> list[str]:
    """Return sentences: one per budget, one per arm's curve, one per arm on labels to come.

    Args:
        rows: those of the ranking.
        summaries: of these rows.
        full: the budget that is all labels.
        more: labels to come; None is half of an arm's largest budget.
    """
    table = ScoreTable(rows)
    sentences = []
    for labelled in sorted({one.labelled for one in summaries}):
        arms = [one for one in summaries if one.labelled == labelled]
        sentences.append(_best(labelled, arms, table))
    names = sorted({row.arm for row in rows})
    return sentences + _saved(names, table, full) + _next_labels(names, table, more)


def _best(labelled: int, arms: Sequence[Summary], table: ScoreTable) -> str:
    # Splits differ more than methods do, so that arms are ranked on those that all of them have.
    shared = sorted(set.intersection(*(set(one.runs) for one in arms)))
    if not shared:
        return (
            f"With {labelled} labelled scans no split and seed was finished by every arm, "
            "so there is no best one yet."
        )
    means = {one.arm: float(table.by_split(one.arm, labelled, shared).mean()) for one in arms}
    best = max(arms, key=lambda one: means[one.arm])
    head = (
        f"With {labelled} labelled scans the best mean Dice is {means[best.arm]:.4f}, "
        f"from {best.arm}{_ranked_on(shared, best, arms)}"
    )
    if len(arms) == 1:
        return f"{head}; nothing else was run at this budget."
    if best.arm == REFERENCE:
        return f"{head}; no method that was tried is better than supervised learning."
    if best.against is None:
        return f"{head}; supervised learning was not run at this budget, so nothing was compared."
    return f"{head}, {_gain(best, best.against)}"


def _ranked_on(shared: Sequence[Run], best: Summary, arms: Sequence[Summary]) -> str:
    """Name the runs of the ranking if some arm has more; with the best arm's mean over its own."""
    if all(len(one.runs) == len(shared) for one in arms):
        return ""
    runs = ", ".join(f"{split} seed {seed}" for split, seed in shared)
    text = f"ranked on split {runs}, which every arm has"
    if len(best.runs) > len(shared):
        text += f"; {best.means['dice']:.4f} over its own {len(best.runs)}"
    return f" ({text})"


def _gain(best: Summary, against: Pairing) -> str:
    """Describe the difference to the reference, and its significance."""
    low, _ = against.comparison.interval
    certain = low > 0 and best.p_holm < 0.05
    splits, seeds = splits_and_seeds(against.runs)
    over = "on one split only"
    if splits > 1:
        better = sum(value > 0 for value in against.by_split)
        over = f"over {splits} splits (better on {better})"
    return (
        f"{against.comparison.as_text()} against {best.reference} {over}, training seeds for each: "
        f"{seeds}; {'more than' if certain else 'not more than'} chance "
        f"(Wilcoxon p per case, Holm: {best.p_holm:.2g})."
    )


def _saved(arms: Sequence[str], table: ScoreTable, full: int) -> list[str]:
    """Return sentences about the labels that reach 95 % of full supervision."""
    if (REFERENCE, full) not in table.scores:
        return [
            "How many labels reach 95 % of full supervision is not estimated: supervised learning "
            f"with all {full} labels was not run."
        ]
    whole = table.by_split(REFERENCE, full, table.runs_of(REFERENCE, full))
    return _needed(arms, table, 0.95 * float(whole.mean()))


def _needed(arms: Sequence[str], table: ScoreTable, target: float) -> list[str]:
    """Return a sentence per arm with the labels it needs, and one that names the other arms."""
    sentences = []
    unknown = []
    for arm in arms:
        budgets, scores = table.curve_of(arm)
        need = labels_needed(budgets, scores, target, table.groups)
        if need is None:
            unknown.append(f"{arm} ({len(budgets)})")
            continue
        count, (low, high) = need
        sentences.append(
            f"{arm}: about {count:.0f} labels [{low:.0f}, {high:.0f}] reach 95 % of full "
            f"supervision (Dice {target:.4f})."
        )
    if unknown:
        sentences.append(
            f"No estimate of the labels for 95 % of full supervision (Dice {target:.4f}): too few "
            f"budgets (in brackets), or no power law fits them: {', '.join(unknown)}."
        )
    return sentences


def _next_labels(arms: Sequence[str], table: ScoreTable, more: int | None) -> list[str]:
    """Return a sentence per arm on the gain of the next labels, and one that names the others."""
    sentences = []
    unknown = []
    for arm in arms:
        budgets, scores = table.curve_of(arm)
        count = more or math.ceil(max(budgets) / 2)
        gain = expected_gain(budgets, scores, count, table.groups)
        if gain is None:
            unknown.append(f"{arm} ({len(budgets)})")
            continue
        low, high = gain.interval
        certain = "" if low > 0 else "; this cannot be told from no gain"
        sentences.append(
            f"{arm}: the next {count} labels, {gain.labels} to {gain.labels + count}, are expected "
            f"to add {gain.gain:+.4f} [{low:+.4f}, {high:+.4f}] Dice{certain}."
        )
    if unknown:
        sentences.append(
            "What the next labels would add cannot be told: fewer than three budgets (in brackets),"
            " no power law fits them, or the labels would be more than doubled: "
            f"{', '.join(unknown)}."
        )
    return sentences


def mixed_code(specs: Sequence[CellSpec]) -> list[str]:
    """Return a sentence if versions of the code differ between finished cells.

    Such cells may differ by more than the method. Configs, data and settings are part of a cell's
    digest, so they cannot be mixed. Code is not: it changes with every comment, and a study runs
    for days.
    """
    outcomes = [CellOutcome(spec) for spec in specs]
    counts = Counter(one.read().get("code") or UNKNOWN for one in outcomes if one.done)
    if len(counts) < 2:
        return []
    parts = ", ".join(f"{code}: {count}" for code, count in sorted(counts.items()))
    return [
        f"The cells come from {len(counts)} states of this package's code ({parts}; protocol.json "
        "says which)."
    ]
