"""Pictures of a study: what labels buy, and what every arm is worth beside supervised learning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monai_semiseg.storage.files import atomic_path
from monai_semiseg.study.grid import REFERENCE
from monai_semiseg.study.results import Summary

# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#8C6D1F")


def draw_curve(summaries: Sequence[Summary], full: int, path: Path) -> None:
    """Draw Dice against labelled scans: a line with a 95 % band per arm, seeds as dots, full supervision dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, arm in enumerate(
        sorted({one.arm for one in summaries}, key=lambda name: (name != REFERENCE, name))
    ):
        points = [one for one in summaries if one.arm == arm and one.labelled != full]
        if not points:
            continue
        colour = _COLOURS[number % len(_COLOURS)]
        x = [one.labelled * (1 + 0.02 * number) for one in points]
        low, high = zip(*(one.interval for one in points), strict=True)
        axes.plot(x, [one.means["dice"] for one in points], color=colour, marker="o", label=arm)
        axes.fill_between(x, low, high, color=colour, alpha=0.12)
        for place, one in zip(x, points, strict=True):
            axes.plot(
                [place] * len(one.seed_means),
                one.seed_means,
                ".",
                color=colour,
                alpha=0.6,
                markersize=4,
            )
    whole = next((one for one in summaries if one.arm == REFERENCE and one.labelled == full), None)
    if whole is not None:
        axes.axhline(
            whole.means["dice"],
            color="grey",
            linestyle="--",
            label=f"supervised, all {full} labels",
        )
    budgets = sorted({one.labelled for one in summaries if one.labelled != full}) or [full]
    axes.set_xscale("log")
    axes.set_xticks(budgets, [str(n) for n in budgets])
    axes.minorticks_off()
    axes.set_xlabel("labelled scans")
    axes.set_ylabel("mean Dice on the test scans")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120, metadata={"Software": None})


def draw_differences(summaries: Sequence[Summary], path: Path) -> None:
    """Draw every arm's paired difference in Dice to supervised learning: mean, 95 % interval, seeds as dots.

    A panel per budget, best arm on top; no picture where nothing is compared, nor one of an earlier
    run.
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
    for axes, budget in zip(
        figure.subplots(1, len(budgets), squeeze=False, sharex=True)[0], budgets, strict=True
    ):
        arms = sorted(
            (pair for pair in compared if pair[1].labelled == budget),
            key=lambda pair: pair[0].difference,
        )
        for height, (against, one) in enumerate(arms):
            sure = against.interval[0] > 0 or against.interval[1] < 0
            axes.plot(
                against.interval, [height] * 2, color="#0072B2" if sure else "grey", linewidth=2
            )
            axes.plot(against.difference, height, "o", color="#0072B2" if sure else "grey")
            axes.plot(
                one.seed_differences,
                [height] * len(one.seed_differences),
                ".",
                color="black",
                markersize=4,
            )
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(arms)), [one.arm for _, one in arms])
        axes.margins(y=0.3 / len(arms))
        axes.locator_params(axis="x", nbins=6)
        axes.set_title(f"{budget} labelled scans", fontsize=10)
        axes.set_xlabel("difference in mean Dice to supervised")
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120, metadata={"Software": None})
