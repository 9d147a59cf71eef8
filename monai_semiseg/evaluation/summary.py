"""Rows of scores -> CSV, JSON, and means with intervals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.cases import FailedCase
from monai_semiseg.evaluation.metrics import METRICS, CaseScore
from monai_semiseg.storage.files import write_atomically


@dataclass(frozen=True)
class ScoreRow:
    """The score of one class of one case."""

    case: str
    index: int
    name: str
    score: CaseScore


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over cases (Efron 1979); NaN for fewer than two cases."""
    if len(values) < 2:
        return float("nan"), float("nan")
    from scipy.stats import bootstrap

    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    result = bootstrap(
        (np.asarray(values),),
        np.mean,
        n_resamples=9999,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(result.low), float(result.high)


def summarise(rows: Sequence[ScoreRow]) -> dict[str, Any]:
    """Mean and 95 % interval of every metric, per class and over the foreground (mean of a case's classes first)."""
    names = list(dict.fromkeys(row.name for row in rows))
    groups = {name: [row.score for row in rows if row.name == name] for name in names}
    summary = {
        name: {m: _mean([getattr(s, m) for s in scores]) for m in METRICS}
        for name, scores in groups.items()
    }
    cases = list(dict.fromkeys(row.case for row in rows))
    foreground = {
        metric: _mean(
            [
                float(np.mean([getattr(r.score, metric) for r in rows if r.case == case]))
                for case in cases
            ]
        )
        for metric in METRICS
    }
    return {"cases": len(cases), "foreground": foreground, "classes": summary}


def _mean(values: Sequence[float]) -> dict[str, float | list[float] | None]:
    """None where there is no interval: JSON has no NaN."""
    interval = list(bootstrap_interval(values)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "interval_95": interval}


def write_scores(
    rows: Sequence[ScoreRow],
    folder: Path,
    about: dict[str, Any],
    failed: Sequence[FailedCase] = (),
) -> dict[str, Any]:
    """Write ``metrics.csv`` (a row per case and class) and ``metrics.json`` (summary), and return the summary.

    Raises:
        ConfigError: If there is nothing to summarise.
    """
    if not rows:
        first = f"; {len(failed)} failed, the first: {failed[0].reason}" if failed else ""
        raise ConfigError(
            f"no case was scored{first}",
            expected="at least one labelled scan and one foreground class",
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "class", "name", *asdict(rows[0].score)])
    for row in rows:
        writer.writerow(
            [
                row.case,
                row.index,
                row.name,
                *(f"{value:.5f}" for value in asdict(row.score).values()),
            ]
        )
    write_atomically(folder / "metrics.csv", text.getvalue())
    summary = {**about, **summarise(rows), "failed": [asdict(case) for case in failed]}
    write_atomically(folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
    return summary


def as_table(summary: dict[str, Any]) -> str:
    """The summary as a Markdown table: a row per class, mean and 95 % interval per metric."""
    lines = ["| | Dice | surface Dice at 1 mm | 95HD (mm) | ASD (mm) |", "|---|---|---|---|---|"]
    for name, scores in {**summary["classes"], "mean foreground": summary["foreground"]}.items():
        cells = []
        for metric in METRICS:
            digits = 3 if metric in ("dice", "surface_dice_1mm") else 2
            interval = ", ".join(
                f"{bound:.{digits}f}" for bound in scores[metric]["interval_95"] or ()
            )
            cells.append(
                f"{scores[metric]['mean']:.{digits}f}" + (f" [{interval}]" if interval else "")
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
