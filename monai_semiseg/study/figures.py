"""Figures of a study: Dice against labels, and every arm's difference to supervised learning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_semiseg.storage.files import atomic_path
from monai_semiseg.study.arms import REFERENCE
from monai_semiseg.study.results import Pairing, Summary

# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#8C6D1F")


def draw_curve(summaries: Sequence[Summary], full: int, path: Path) -> None:
    """Draw Dice against labelled scans: a line with a 95 % band per arm, and a dot per split.

    Full supervision is a dashed line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    few = [one for one in summaries if one.labelled != full]
    for number, arm in enumerate(sorted({one.arm for one in summaries}, key=_reference_first)):
        points = [one for one in few if one.arm == arm]
        if points:
            _draw_arm(axes, points, number)
    for one in summaries:
        if one.arm == REFERENCE and one.labelled == full:
            axes.axhline(
                one.means["dice"],
                color="grey",
                linestyle="--",
                label=f"supervised, all {full} labels",
            )
    budgets = sorted({one.labelled for one in few}) or [full]
    axes.set_xscale("log")
    axes.set_xticks(budgets, [str(count) for count in budgets])
    axes.minorticks_off()
    axes.set_xlabel("labelled scans")
    axes.set_ylabel("mean Dice on the test scans")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def _reference_first(arm: str) -> tuple[bool, str]:
    return arm != REFERENCE, arm


def _draw_arm(axes: Any, points: Sequence[Summary], number: int) -> None:
    """Draw one arm's line, band and dots, moved a little so that arms do not hide each other."""
    colour = _COLOURS[number % len(_COLOURS)]
    x = [one.labelled * (1 + 0.02 * number) for one in points]
    low, high = zip(*(one.interval for one in points), strict=True)
    dice = [one.means["dice"] for one in points]
    axes.plot(x, dice, color=colour, marker="o", label=points[0].arm)
    axes.fill_between(x, low, high, color=colour, alpha=0.12)
    for position, one in zip(x, points, strict=True):
        axes.plot(
            [position] * len(one.split_means),
            one.split_means,
            ".",
            color=colour,
            alpha=0.6,
            markersize=4,
        )


def draw_differences(summaries: Sequence[Summary], path: Path) -> None:
    """Draw every arm's paired difference in Dice to supervised learning.

    A panel per budget, best arm on top; per arm the mean, its 95 % interval, and a dot per split.
    If nothing is compared, no picture is written, and that of an earlier run is removed.
    """
    from matplotlib.figure import Figure

    compared = [(one.against, one) for one in summaries if one.against is not None]
    if not compared:
        path.unlink(missing_ok=True)
        return
    budgets = Counter(one.labelled for _, one in compared)
    figure = Figure(
        figsize=(2.5 + 4 * len(budgets), 1.3 + 0.35 * max(budgets.values())), layout="constrained"
    )
    panels = figure.subplots(1, len(budgets), squeeze=False, sharex=True)[0]
    for axes, budget in zip(panels, budgets, strict=True):
        arms = [pair for pair in compared if pair[1].labelled == budget]
        arms.sort(key=lambda pair: pair[0].comparison.difference)
        _draw_budget(axes, arms)
        axes.set_title(f"{budget} labelled scans", fontsize=10)
    _save(figure, path)


def _draw_budget(axes: Any, arms: Sequence[tuple[Pairing, Summary]]) -> None:
    """Draw one panel; an interval without 0 is blue."""
    for height, (pairing, _) in enumerate(arms):
        against = pairing.comparison
        low, high = against.interval
        colour = "#0072B2" if low > 0 or high < 0 else "grey"
        splits = pairing.by_split
        axes.plot((low, high), [height] * 2, color=colour, linewidth=2)
        axes.plot(against.difference, height, "o", color=colour)
        axes.plot(splits, [height] * len(splits), ".", color="black", markersize=4)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(arms)), [one.arm for _, one in arms])
    axes.margins(y=0.3 / len(arms))
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("difference in mean Dice to supervised")


def _save(figure: Any, path: Path) -> None:
    """Write a figure atomically; without a software version, equal figures give equal bytes."""
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120, metadata={"Software": None})
