"""Report of a run for programs and spreadsheets: the result of every input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from monai_semiseg.plain_text import as_json
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import write_table

Status = Literal["done", "failed", "skipped"]


@dataclass(frozen=True)
class CaseResult:
    """The result of one input.

    Attributes:
        input: file or series folder.
        status: ``done``, ``failed`` or ``skipped``.
        output: the mask, relative to the output folder; empty unless done.
        reason: of a failure or omission, or warnings.
        code: the error's code.
        flags: short codes of reasons to check the mask, such as ``field_of_view``.
        volumes_ml: label name -> mL.
        seconds: of reading, computing and writing, without waiting.
        memory_mb: largest memory in use after a step: of the GPU, or of the process.
        measures: label name -> other measurements, see
            :func:`~monai_semiseg.export.measure.measure_labels`.
    """

    input: str
    status: Status
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

    Paths in the JSON are as on disk. The CSV is for reading and filtering, so its cells are made
    safe by :func:`~monai_semiseg.storage.tables.write_table`; its column ``flags`` has the codes
    with ``;`` between.

    Args:
        results: of all inputs.
        folder: output folder.
        names: index -> label name.
        about: facts about the run.
    """
    flags = Counter[str]()
    for result in results:
        flags.update(result.flags)
    content = {
        **about,
        "counts": count_statuses(results),
        "flags": dict(flags),
        "cases": [_entry(result) for result in results],
    }
    write_atomically(folder / "report.json", as_json(content) + "\n")
    _write_csv(results, folder / "report.csv", names)


def count_statuses(results: Sequence[CaseResult]) -> dict[str, int]:
    """Return the number of inputs that are done, failed and skipped."""
    counts = Counter(result.status for result in results)
    return {status: counts[status] for status in get_args(Status)}


def _entry(result: CaseResult) -> dict[str, Any]:
    """Return the entry of an input in the JSON."""
    return {
        "input": result.input,
        "status": result.status,
        "output": result.output,
        "reason": result.reason,
        "code": result.code,
        "volumes_ml": {name: round(ml, 4) for name, ml in result.volumes_ml.items()},
        "seconds": round(result.seconds, 3),
        "memory_mb": round(result.memory_mb),
        "measures": {name: dict(found) for name, found in result.measures.items()},
        "flags": list(result.flags),
    }


def _write_csv(results: Sequence[CaseResult], path: Path, names: Mapping[int, str]) -> None:
    """Write a row per input, with columns for the measurements of every label."""
    labels = [name for index, name in names.items() if index > 0]
    kinds = _measured(results)
    measures = list(product(kinds, labels))
    header = ["input", "status", "output", "reason", *(f"{name}_ml" for name in labels)]
    header += ["seconds", "memory_mb", *(f"{name}_{kind}" for kind, name in measures), "flags"]
    rows = []
    for result in results:
        volumes = [_volume(result, name) for name in labels]
        measured = [result.measures.get(name, {}).get(kind, "") for kind, name in measures]
        row: list[Any] = [result.input, result.status, result.output, result.reason, *volumes]
        row += [f"{result.seconds:.3f}", round(result.memory_mb), *measured]
        rows.append([*row, ";".join(result.flags)])
    write_table(path, header, rows)


def _measured(results: Sequence[CaseResult]) -> list[str]:
    """Return the kinds of measurement that have columns."""
    found = set[str]()
    for result in results:
        found = found.union(*result.measures.values())
    optional = [kind for kind in ("mean_intensity", "mean_uncertainty") if kind in found]
    return ["largest_share", *optional]


def _volume(result: CaseResult, name: str) -> str:
    return f"{result.volumes_ml[name]:.4f}" if name in result.volumes_ml else ""
