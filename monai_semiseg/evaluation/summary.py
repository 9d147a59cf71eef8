"""Summary of scores: means with intervals, written as CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.bootstrap import bootstrap_interval, group_key
from monai_semiseg.evaluation.cases import FailedCase
from monai_semiseg.evaluation.metrics import (
    CaseScore,
    Scale,
    distance_unit,
    metrics_among,
    pooled_dice,
)
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import markdown_table, write_table


@dataclass(frozen=True)
class ScoreRow:
    """The score of one class of one case.

    Attributes:
        case: its name.
        index: number of the class in the label files.
        name: of the class.
        score: of the class over the voxels whose label is known.
        ignored: share of the case's voxels that the label says to ignore, which are left out.
        scale: in which it is measured.
        group: such as a patient; its cases are drawn together where intervals are computed.
    """

    case: str
    index: int
    name: str
    score: CaseScore
    ignored: float = 0.0
    scale: Scale = field(default_factory=Scale, kw_only=True)
    group: str = field(default="", kw_only=True)


def summarise(rows: Sequence[ScoreRow]) -> dict[str, Any]:
    """Return mean and 95 % interval of every metric, per class and over the foreground.

    The foreground is the mean over a case's classes. ``pooled_dice`` has the Dice of every class
    over the voxels of all cases together. If labels hold voxels to ignore, ``ignored`` has the
    number of such cases and the mean share of these voxels over all cases.
    """
    by_class: dict[str, list[CaseScore]] = {}
    groups: dict[str, list[str]] = {}
    by_case: dict[str, list[CaseScore]] = {}
    group_of: dict[str, str] = {}
    for row in rows:
        by_class.setdefault(row.name, []).append(row.score)
        groups.setdefault(row.name, []).append(group_key(row.case, row.group))
        by_case.setdefault(row.case, []).append(row.score)
        group_of[row.case] = group_key(row.case, row.group)
    classes: dict[str, Any] = {name: {} for name in by_class}
    foreground = {}
    scale = rows[0].scale if rows else Scale()
    for metric, measured in zip(scale.metrics, fields(CaseScore), strict=False):
        for name, scores in by_class.items():
            of_class = [getattr(score, measured.name) for score in scores]
            classes[name][metric] = _mean(of_class, groups[name])
        means = [_mean_of(scores, measured.name) for scores in by_case.values()]
        foreground[metric] = _mean(means, list(group_of.values()))
    pooled = {name: _pooled(scores) for name, scores in by_class.items()}
    summary = {
        "cases": len(by_case),
        "foreground": foreground,
        "classes": classes,
        "pooled_dice": pooled,
    }
    ignored = {row.case: row.ignored for row in rows if row.ignored > 0}
    if ignored:
        share = sum(ignored.values()) / len(by_case)
        summary["ignored"] = {"cases": len(ignored), "share": share}
    return summary


def _pooled(scores: Sequence[CaseScore]) -> float:
    sizes = [score.label_size + score.pred_size for score in scores]
    return pooled_dice([score.dice for score in scores], sizes)


def _mean_of(scores: Sequence[CaseScore], measured: str) -> float:
    return float(np.mean([getattr(score, measured) for score in scores]))


def _mean(values: Sequence[float], groups: Sequence[str]) -> dict[str, float | list[float] | None]:
    """Return mean and interval; None where there is no interval, since JSON has no NaN."""
    interval = list(bootstrap_interval(np.asarray([values]), groups))
    return {
        "mean": float(np.mean(values)),
        "interval_95": None if math.isnan(interval[0]) else interval,
    }


def write_scores(
    rows: Sequence[ScoreRow],
    folder: Path,
    about: dict[str, Any],
    failed: Sequence[FailedCase] = (),
) -> dict[str, Any]:
    """Write the scores and their summary; return the summary.

    ``metrics.csv`` has a row per case and class, with the group if there are groups;
    ``metrics.json`` has the summary. If labels hold voxels to ignore, their share of the case is
    the last column.

    Raises:
        ConfigError: If there is nothing to summarise.
    """
    if not rows:
        first = f"; {len(failed)} failed, the first: {failed[0].reason}" if failed else ""
        raise ConfigError(
            f"no case was scored{first}",
            expected="at least one labelled scan and one foreground class",
        )
    grouped = any(row.group for row in rows)
    partial = any(row.ignored > 0 for row in rows)
    table = []
    for row in rows:
        numbers = [*asdict(row.score).values(), *([row.ignored] if partial else [])]
        values = [f"{value:.5f}" for value in numbers]
        table.append([row.case, row.index, row.name, *([row.group] * grouped), *values])
    header = ["case", "class", "name", *(["group"] * grouped), *rows[0].scale.columns]
    header += ["ignored_share"] if partial else []
    write_table(folder / "metrics.csv", header, table)
    summary = {**about, **summarise(rows), "failed": [asdict(case) for case in failed]}
    write_atomically(folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
    return summary


def as_table(summary: dict[str, Any]) -> str:
    """Return the summary as a Markdown table: mean and 95 % interval per class and metric.

    Classes that were never trained are marked; they count as 0 wherever a reference holds them. A
    last line says how much of the labels was to be ignored, if any.
    """
    untrained = summary.get("never_trained", [])
    metrics = metrics_among(summary["foreground"])
    unit = distance_unit(metrics)
    head = ["", "Dice", f"surface Dice at 1 {unit}", f"95HD ({unit})", f"ASD ({unit})"]
    rows = []
    for name, scores in {**summary["classes"], "mean foreground": summary["foreground"]}.items():
        cells = [_cell(metric, scores[metric]) for metric in metrics]
        mark = " (never trained)" if name in untrained else ""
        rows.append([f"{printable(name)}{mark}", *cells])
    lines = [markdown_table(head, rows).rstrip("\n")]
    if ignored := summary.get("ignored"):
        lines.append(
            f"\nleft out: voxels to ignore, {ignored['share']:.1%} of the voxels, in "
            f"{ignored['cases']} of {summary['cases']} cases"
        )
    return "\n".join(lines)


def _cell(metric: str, score: dict[str, Any]) -> str:
    """Return mean and interval of a metric: shares with three digits, distances with two."""
    digits = 3 if "dice" in metric else 2
    mean = f"{score['mean']:.{digits}f}"
    interval = ", ".join(f"{bound:.{digits}f}" for bound in score["interval_95"] or ())
    return f"{mean} [{interval}]" if interval else mean
