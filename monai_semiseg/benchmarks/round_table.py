"""Table of the rounds of labelling: each strategy beside the random choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_semiseg.storage.tables import markdown_table
from monai_semiseg.study.selections import RANDOM


def compared(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and standard deviation of each strategy and round, beside the random choice.

    Args:
        rows: of :func:`~monai_semiseg.benchmarks.rounds.simulate`.

    Returns:
        For each strategy and round over the seeds: ``labels``, ``corrected_voxels``, ``dice`` and
        ``sd``, None of one seed; ``over_random`` is the mean difference to the random choice of the
        same seed with as many labels, and ``over_random_at_equal_voxels`` that to its curve,
        interpolated, where it has cost as many changed voxels.
    """
    random = {
        seed: [row for row in rows if row["strategy"] == RANDOM and row["seed"] == seed]
        for seed in {row["seed"] for row in rows}
    }
    found = []
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        for number in sorted({row["round"] for row in rows}):
            of = [row for row in rows if row["strategy"] == strategy and row["round"] == number]
            dice = np.array([row["dice"] for row in of])
            found.append(
                {
                    "strategy": strategy,
                    "round": number,
                    "labels": float(np.mean([row["labels"] for row in of])),
                    "corrected_voxels": float(np.mean([row["corrected_voxels"] for row in of])),
                    "dice": float(dice.mean()),
                    "sd": float(dice.std(ddof=1)) if len(dice) > 1 else None,
                    "over_random": _over(of, random, "labels"),
                    "over_random_at_equal_voxels": _over(of, random, "corrected_voxels"),
                }
            )
    return found


def _over(
    rows: Sequence[Mapping[str, Any]],
    random: Mapping[int, Sequence[Mapping[str, Any]]],
    cost: str,
) -> float | None:
    """Return the mean difference to the random choice at an equal cost; None without one."""
    differences = []
    for row in rows:
        curve = sorted(random[row["seed"]], key=lambda one: float(one[cost]))
        if not curve:
            return None
        at = np.interp(row[cost], [one[cost] for one in curve], [one["dice"] for one in curve])
        differences.append(row["dice"] - float(at))
    return float(np.mean(differences))


def as_markdown(table: Sequence[Mapping[str, Any]]) -> str:
    """Return the table for a page."""
    head = ["strategy", "labels", "corrected voxels", "Dice"]
    head += ["over random, equal labels", "over random, equal voxels"]
    rows = []
    for row in table:
        over = [
            "" if row[key] is None else f"{row[key]:+.3f}"
            for key in ("over_random", "over_random_at_equal_voxels")
        ]
        spread = "" if row["sd"] is None else f" ± {row['sd']:.3f}"
        voxels = f"{row['corrected_voxels']:,.0f}"
        dice = f"{row['dice']:.3f}{spread}"
        rows.append([row["strategy"], f"{row['labels']:g}", voxels, dice, *over])
    return markdown_table(head, rows)
