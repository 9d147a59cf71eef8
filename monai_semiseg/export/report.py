"""The run's truth for machines and spreadsheets: what happened to every input."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from monai_semiseg.storage.files import write_atomically


@dataclass(frozen=True)
class CaseResult:
    """What happened to one input.

    Attributes:
        input: file or series folder.
        status: ``done``, ``failed`` or ``skipped``.
        output: the mask, relative to the output folder; empty unless done.
        reason: why it failed or was skipped, or what was warned about.
        code: the error's code.
        volumes_ml: label name -> mL.
        seconds: of reading, computing and writing, without waiting.
        memory_mb: most memory that was in use after a step: of the GPU's, or of the process.
        measures: label name -> what else was measured, see
            :func:`~monai_semiseg.export.measure.measure_labels`.
    """

    input: str
    status: Literal["done", "failed", "skipped"]
    output: str = ""
    reason: str = ""
    code: str = ""
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    memory_mb: float = 0.0
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_report(
    results: Sequence[CaseResult],
    folder: Path,
    names: Mapping[int, str],
    about: dict[str, Any],
    marks: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write ``report.json`` and ``report.csv`` atomically.

    Args:
        results: of all inputs.
        folder: output folder.
        names: index -> label name.
        about: facts about the run.
        marks: input -> what to look at, see :func:`~monai_semiseg.export.measure.outliers`.
    """
    marks = marks or {}
    cases = [
        {
            "input": r.input,
            "status": r.status,
            "output": r.output,
            "reason": r.reason,
            "code": r.code,
            "volumes_ml": {name: round(ml, 4) for name, ml in r.volumes_ml.items()},
            "seconds": round(r.seconds, 3),
            "memory_mb": round(r.memory_mb),
            "measures": {name: dict(found) for name, found in r.measures.items()},
            "marks": list(marks.get(r.input, [])),
        }
        for r in results
    ]
    counts = {
        status: sum(r.status == status for r in results) for status in ("done", "failed", "skipped")
    }
    content = {**about, "counts": counts, "cases": cases}
    write_atomically(
        folder / "report.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    )
    labels = [name for index, name in names.items() if index > 0]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    there = {kind for r in results for found in r.measures.values() for kind in found}
    kinds = [
        "largest_share",
        *(kind for kind in ("mean_intensity", "mean_uncertainty") if kind in there),
    ]
    columns = [(name, kind) for kind in kinds for name in labels]
    measured = [f"{name}_{kind}" for name, kind in columns]
    writer.writerow(
        [
            "input",
            "status",
            "output",
            "reason",
            *(f"{name}_ml" for name in labels),
            "seconds",
            "memory_mb",
            *measured,
            "marks",
        ]
    )
    for r in results:
        volumes = [f"{r.volumes_ml[name]:.4f}" if name in r.volumes_ml else "" for name in labels]
        parts = [r.measures.get(name, {}).get(kind, "") for name, kind in columns]
        remarks = "; ".join(marks.get(r.input, []))
        cost = [f"{r.seconds:.3f}", round(r.memory_mb)]
        writer.writerow([r.input, r.status, r.output, r.reason, *volumes, *cost, *parts, remarks])
    write_atomically(folder / "report.csv", text.getvalue())
