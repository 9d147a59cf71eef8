"""The study's answer in words: which method, by how much, and what further labels would buy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_semiseg.evaluation.study.grid import REFERENCE
from monai_semiseg.evaluation.study.results import Row, Summary, Table
from monai_semiseg.evaluation.study.statistics import labels_needed


def answer(rows: Sequence[Row], summaries: Sequence[Summary], full: int) -> list[str]:
    """Sentences, one per budget and one per arm's curve.

    Args:
        rows: all rows.
        summaries: of these rows.
        full: the budget that is all labels.
    """
    sentences = [_best(labelled, [one for one in summaries if one.labelled == labelled])
                 for labelled in sorted({one.labelled for one in summaries})]  # fmt: skip
    return sentences + [_needed(arm, rows, full) for arm in sorted({row.arm for row in rows})]


def _best(labelled: int, arms: Sequence[Summary]) -> str:
    best = max(arms, key=lambda one: one.means["dice"])
    head = f"With {labelled} labelled scans the best mean Dice is {best.means['dice']:.4f}, from {best.arm}"
    if len(arms) == 1:
        return f"{head}; nothing else was run at this budget."
    if best.against is None and best.arm.startswith(REFERENCE):
        return f"{head}; no method that was tried is better than supervised learning."
    if best.against is None:
        return f"{head}; supervised learning was not run at this budget, so nothing was compared."
    low, high = best.against.interval
    certain = low > 0 and best.p_holm < 0.05
    text = f"{head}, {best.against.difference:+.4f} [{low:+.4f}, {high:+.4f}] against supervised"
    seeds = f"over {len(best.seeds)} split seeds" if len(best.seeds) > 1 else "on one split seed only"
    return f"{text} {seeds}: {'more than' if certain else 'not more than'} chance (Holm p {best.p_holm:.2g})."


def _needed(arm: str, rows: Sequence[Row], full: int) -> str:
    table = Table(rows)
    budgets = sorted(n for name, n in table.scores if name == arm)
    reference = (REFERENCE, full)
    if reference not in table.scores:
        return f"{arm}: no estimate of the labels needed, since supervised learning with all {full} labels was not run."
    target = 0.95 * float(table.per_case(*reference, sorted(table.scores[reference])).mean())
    columns = np.stack([table.per_case(arm, n, sorted(table.scores[arm, n])) for n in budgets], 1)
    need = labels_needed(budgets, columns, target)
    if need is None:
        return (f"{arm}: no estimate of the labels for 95 % of full supervision (Dice {target:.4f}): "
                f"{len(budgets)} budgets, or no power law fits them.")  # fmt: skip
    count, (low, high) = need
    return (f"{arm}: about {count:.0f} labels [{low:.0f}, {high:.0f}] reach 95 % of full supervision "
            f"(Dice {target:.4f}).")  # fmt: skip
