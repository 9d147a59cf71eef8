"""The run's truth for machines and spreadsheets: what happened to every input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from monai_semiseg.plain_text import as_json
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import write_table


@dataclass(frozen=True)
class CaseResult:
    """What happened to one input.

    Attributes:
        input: file or series folder.
        status: ``done``, ``failed`` or ``skipped``.
        output: the mask, relative to the output folder; empty unless done.
        reason: why it failed or was skipped, or what was warned about.
        code: the error's code.
        flags: short codes of what makes the mask doubtful, such as ``field_of_view``.
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
    flags: Sequence[str] = ()


def write_report(
    results: Sequence[CaseResult],
    folder: Path,
    names: Mapping[int, str],
    about: dict[str, Any],
) -> None:
    """Write ``report.json`` and ``report.csv`` atomically.

    Paths in the JSON are what they are on disk; the CSV is for reading and filtering: see
    :func:`~monai_semiseg.storage.tables.write_table`. Its column ``flags`` has the codes with ``;``
    between.

    Args:
        results: of all inputs.
        folder: output folder.
        names: index -> label name.
        about: facts about the run.
    """
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
            "flags": list(r.flags),
        }
        for r in results
    ]
    counts = {
        status: sum(r.status == status for r in results) for status in ("done", "failed", "skipped")
    }
    flags = dict(Counter(flag for r in results for flag in r.flags))
    content = {**about, "counts": counts, "flags": flags, "cases": cases}
    write_atomically(folder / "report.json", as_json(content) + "\n")
    _write_csv(results, folder / "report.csv", names)


def _write_csv(results: Sequence[CaseResult], path: Path, names: Mapping[int, str]) -> None:
    """Write a row per input; columns for what was measured of every label."""
    labels = [name for index, name in names.items() if index > 0]
    there = {kind for r in results for found in r.measures.values() for kind in found}
    kinds = [
        "largest_share",
        *(kind for kind in ("mean_intensity", "mean_uncertainty") if kind in there),
    ]
    columns = [(name, kind) for kind in kinds for name in labels]
    measured = [f"{name}_{kind}" for name, kind in columns]
    volume = [f"{name}_ml" for name in labels]
    header = ["input", "status", "output", "reason", *volume]
    header += ["seconds", "memory_mb", *measured, "flags"]
    rows = []
    for r in results:
        volumes = [f"{r.volumes_ml[name]:.4f}" if name in r.volumes_ml else "" for name in labels]
        parts = [r.measures.get(name, {}).get(kind, "") for name, kind in columns]
        cost = [f"{r.seconds:.3f}", round(r.memory_mb)]
        what = [r.input, r.status, r.output, r.reason]
        rows.append([*what, *volumes, *cost, *parts, ";".join(r.flags)])
    write_table(path, header, rows)
