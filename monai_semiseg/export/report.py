"""Report of a run for programs and spreadsheets: the result of every input."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from monai_semiseg.datasets.label_values import class_names, foreground_of
from monai_semiseg.errors import ConfigError
from monai_semiseg.export.output_paths import name_of_mask
from monai_semiseg.export.sizes import KINDS, VOLUME_ML, LabelSizes, SizeKind
from monai_semiseg.plain_text import as_json
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import write_table

Status = Literal["done", "failed", "skipped"]
_JSON = "report.json"


@dataclass(frozen=True)
class CaseResult:
    """Hold the result of one input.

    Attributes:
        input: file or series folder.
        status: ``done``, ``failed`` or ``skipped``.
        output: the mask, relative to the output folder; empty unless done.
        reason: of a failure or omission, or warnings.
        code: the error's code.
        flags: short codes of reasons to check the mask, such as ``field_of_view``.
        volumes_ml: label name -> mL, of a scan.
        area_mm2: label name -> mm2, of a 2-D image with a pixel size.
        area_px: label name -> pixels, of a picture without one.
        volume_px: label name -> voxels, of a stack of pictures without one.
        seconds: of reading, computing and writing, without waiting.
        memory_mb: largest memory in use after a step: of the GPU, or of the process.
        measures: label name -> other measurements, see
            :func:`~monai_semiseg.export.measure.measure_labels`.
        is_picture: the preview shows the image as it was taken: it has no patient's axes.
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
    area_mm2: Mapping[str, float] = field(default_factory=dict)
    area_px: Mapping[str, float] = field(default_factory=dict)
    volume_px: Mapping[str, float] = field(default_factory=dict)
    is_picture: bool = False

    @property
    def lacks_mask(self) -> bool:
        """Return True if an image has no mask: it failed, or was left out because of its flags."""
        return self.status == "failed" or (bool(self.flags) and self.status == "skipped")

    @property
    def sizes(self) -> LabelSizes:
        """Return the sizes of the labels, in the unit that they have."""
        for kind in KINDS:
            if sizes := getattr(self, kind.field):
                return LabelSizes(kind, sizes)
        return LabelSizes()


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
    write_atomically(folder / _JSON, as_json(content) + "\n")
    _write_csv(results, folder / "report.csv", names)


@dataclass(frozen=True)
class RunReport:
    """Hold what the ``report.json`` of a run says.

    Attributes:
        folder: output folder of the run.
        about: facts about the run.
        results: of all inputs.
    """

    folder: Path
    about: Mapping[str, Any]
    results: Sequence[CaseResult]

    @property
    def names(self) -> dict[int, str]:
        """Return label number -> name."""
        return class_names(self.about.get("label_names") or {})

    @property
    def masks(self) -> dict[str, CaseResult]:
        """Return name of the case -> result, of the cases that have a mask."""
        done = [result for result in self.results if result.status == "done"]
        return {name_of_mask(result.output): result for result in done}


def read_report(folder: Path) -> RunReport:
    """Read the report of a run.

    Raises:
        ConfigError: If there is none, or it cannot be read.
    """
    path = folder / _JSON
    try:
        content = json.loads(path.read_bytes())
        entries = content.pop("cases")
        return RunReport(folder, content, [_result(entry) for entry in entries])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})",
            expected="the report of a run",
            remedy="name the output folder of a monai-semiseg predict run that has ended",
            path=path,
        ) from error


def move_inputs(folder: Path, inputs: Sequence[str]) -> None:
    """Let the report of a run say where its images are now.

    Args:
        folder: output folder of the run.
        inputs: relative to ``folder``, so that masks and images may move together.

    Raises:
        OutputError: If the disk is full.
    """
    content = json.loads((folder / _JSON).read_bytes())
    write_atomically(folder / _JSON, as_json({**content, "inputs": list(inputs)}) + "\n")


def _result(entry: Mapping[str, Any]) -> CaseResult:
    known = [one.name for one in fields(CaseResult)]
    return CaseResult(**{name: value for name, value in entry.items() if name in known})


def count_statuses(results: Sequence[CaseResult]) -> dict[str, int]:
    """Return the number of inputs that are done, failed and skipped."""
    counts = Counter(result.status for result in results)
    return {status: counts[status] for status in get_args(Status)}


def _entry(result: CaseResult) -> dict[str, Any]:
    """Return the entry of an input in the JSON; its areas in place of volumes if it has such."""
    sizes = {name: round(size, 4) for name, size in result.sizes.items()}
    return {
        "input": result.input,
        "status": result.status,
        "output": result.output,
        "reason": result.reason,
        "code": result.code,
        result.sizes.kind.field: sizes,
        "seconds": round(result.seconds, 3),
        "memory_mb": round(result.memory_mb),
        "measures": {name: dict(found) for name, found in result.measures.items()},
        "flags": list(result.flags),
    }


def _write_csv(results: Sequence[CaseResult], path: Path, names: Mapping[int, str]) -> None:
    """Write a row per input, with columns for the measurements of every label."""
    labels = list(foreground_of(names).values())
    kinds = _measured(results)
    measures = list(product(kinds, labels))
    columns = list(product(_size_kinds(results), labels))
    header = ["input", "status", "output", "reason"]
    header += [f"{name}_{kind.column}" for kind, name in columns]
    header += ["seconds", "memory_mb", *(f"{name}_{kind}" for kind, name in measures), "flags"]
    rows = []
    for result in results:
        sizes = [_size(result, kind, name) for kind, name in columns]
        measured = [result.measures.get(name, {}).get(kind, "") for kind, name in measures]
        row: list[Any] = [result.input, result.status, result.output, result.reason, *sizes]
        row += [f"{result.seconds:.3f}", round(result.memory_mb), *measured]
        rows.append([*row, ";".join(result.flags)])
    write_table(path, header, rows)


def _size_kinds(results: Sequence[CaseResult]) -> list[SizeKind]:
    """Return the kinds of size that have columns: those that occur, else volumes."""
    found = [result.sizes.kind for result in results if result.status == "done"]
    return [kind for kind in KINDS if kind in found] or [VOLUME_ML]


def _measured(results: Sequence[CaseResult]) -> list[str]:
    """Return the kinds of measurement that have columns; those of channels in their order."""
    found: dict[str, None] = {}
    for result in results:
        for measures in result.measures.values():
            found.update(dict.fromkeys(measures))
    intensities = [kind for kind in found if kind.startswith("mean_intensity")]
    doubt = [kind for kind in found if kind == "mean_uncertainty"]
    return ["largest_share", *intensities, *doubt]


def _size(result: CaseResult, kind: SizeKind, name: str) -> str:
    sizes = result.sizes
    if sizes.kind is not kind or name not in sizes:
        return ""
    return f"{sizes[name]:.{kind.column_digits}f}"
