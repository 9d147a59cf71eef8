"""The study's answer in words: which method, by how much, and what further labels would buy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from monai_semiseg.study.cell import Job
from monai_semiseg.study.grid import REFERENCE
from monai_semiseg.study.provenance import UNKNOWN
from monai_semiseg.study.results import Row, Summary, Table
from monai_semiseg.study.statistics import labels_needed


def answer(rows: Sequence[Row], summaries: Sequence[Summary], full: int) -> list[str]:
    """Sentences, one per budget and one per arm's curve.

    Args:
        rows: all rows.
        summaries: of these rows.
        full: the budget that is all labels.
    """
    table = Table(rows)
    sentences = [
        _best(labelled, [one for one in summaries if one.labelled == labelled], table)
        for labelled in sorted({one.labelled for one in summaries})
    ]
    reference = (REFERENCE, full)
    if reference not in table.scores:
        return [
            *sentences,
            f"How many labels reach 95 % of full supervision is not estimated: supervised learning "
            f"with all {full} labels was not run.",
        ]
    target = 0.95 * float(table.per_case(*reference, sorted(table.scores[reference])).mean())
    return sentences + _needed(sorted({row.arm for row in rows}), table, target)


def _best(labelled: int, arms: Sequence[Summary], table: Table) -> str:
    # Split seeds differ more than methods do, so that arms are ranked on the seeds that all of them
    # have.
    shared = sorted(set.intersection(*(set(one.seeds) for one in arms)))
    if not shared:
        return f"With {labelled} labelled scans no split seed was finished by every arm, so there is no best one yet."
    means = {one.arm: float(table.per_case(one.arm, labelled, shared).mean()) for one in arms}
    best = max(arms, key=lambda one: means[one.arm])
    head = f"With {labelled} labelled scans the best mean Dice is {means[best.arm]:.4f}, from {best.arm}"
    if any(len(one.seeds) > len(shared) for one in arms):
        head += f" (ranked on split seed {', '.join(map(str, shared))}, which every arm has"
        head += (
            f"; {best.means['dice']:.4f} over its own {len(best.seeds)})"
            if len(best.seeds) > len(shared)
            else ")"
        )
    if len(arms) == 1:
        return f"{head}; nothing else was run at this budget."
    if best.arm == REFERENCE:
        return f"{head}; no method that was tried is better than supervised learning."
    if best.against is None:
        return f"{head}; supervised learning was not run at this budget, so nothing was compared."
    low, high = best.against.interval
    certain = low > 0 and best.p_holm < 0.05
    text = (
        f"{head}, {best.against.difference:+.4f} [{low:+.4f}, {high:+.4f}] against {best.reference}"
    )
    count, better = len(best.seed_differences), sum(value > 0 for value in best.seed_differences)
    seeds = (
        f"over {count} split seeds (better on {better})" if count > 1 else "on one split seed only"
    )
    return f"{text} {seeds}: {'more than' if certain else 'not more than'} chance (Holm p {best.p_holm:.2g})."


def _needed(arms: Sequence[str], table: Table, target: float) -> list[str]:
    """A sentence per arm whose curve says how many labels it needs, and one that names the others."""
    sentences, unknown = [], []
    for arm in arms:
        budgets = sorted(n for name, n in table.scores if name == arm)
        columns = np.stack(
            [table.per_case(arm, n, sorted(table.scores[arm, n])) for n in budgets], 1
        )
        need = labels_needed(budgets, columns, target)
        if need is None:
            unknown.append(f"{arm} ({len(budgets)})")
        else:
            count, (low, high) = need
            sentences.append(
                f"{arm}: about {count:.0f} labels [{low:.0f}, {high:.0f}] reach 95 % of full supervision "
                f"(Dice {target:.4f})."
            )
    if unknown:
        sentences.append(
            f"No estimate of the labels for 95 % of full supervision (Dice {target:.4f}): too few budgets "
            f"(in brackets), or no power law fits them: {', '.join(unknown)}."
        )
    return sentences


def mixed_code(jobs: Sequence[Job]) -> list[str]:
    """A sentence if finished cells were computed by different code: they may differ by more than the method.

    Configs, data and settings are part of a cell's digest, so they cannot be mixed. Code is not: it
    changes with every comment, and a study goes on for days.
    """
    counts = Counter(job.outcome().get("code") or UNKNOWN for job in jobs if job.done)
    if len(counts) < 2:
        return []
    parts = ", ".join(f"{code}: {count}" for code, count in sorted(counts.items()))
    return [
        f"The cells come from {len(counts)} states of this package's code ({parts}; protocol.json says which)."
    ]
