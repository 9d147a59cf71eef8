"""Report of a collection: a row for each case and label, and a short text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from monai_semiseg.export.sizes import SizeKind, size_kind
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.volume import spatial_dims_of
from monai_semiseg.labelling.collected_case import CollectedCase, Collection, Status
from monai_semiseg.labelling.tasks import TaskFolder
from monai_semiseg.plain_text import counted
from monai_semiseg.storage.files import write_if_changed
from monai_semiseg.storage.tables import table_bytes

REPORT = "collected.csv"


def write_collected(found: Collection, tasks: TaskFolder) -> Path:
    """Write ``collected.csv`` into the folder of tasks: a row for each case and label.

    Args:
        found: the collection.
        tasks: what was handed out.
    """
    kind = _kind(tasks)
    unit = tasks.tasks[0].unit if tasks.tasks else "mm"
    header = ["id", "status", "label", "dice", f"proposed_{kind.column}", f"labelled_{kind.column}"]
    header += ["changed_voxels", f"surface_distance_{unit}", "ignored_voxels", "minutes", "reason"]
    rows: list[list[Any]] = []
    for case in found.cases:
        changes = case.changes or {"": {}}
        rows += [_row(case, name, change, kind) for name, change in changes.items()]
    rows += [[case, "failed", *[""] * 8, reason] for case, reason in found.failed.items()]
    return write_if_changed(tasks.folder / REPORT, table_bytes(header, rows))


def _row(case: CollectedCase, name: str, change: Any, kind: SizeKind) -> list[Any]:
    digits = kind.column_digits
    numbers = ["", "", "", "", ""]
    if change:
        numbers = [
            f"{change['dice']:.4f}",
            f"{change['proposed']:.{digits}f}",
            f"{change['labelled']:.{digits}f}",
            str(change["changed"]),
            f"{change['surface_distance']:.3f}",
        ]
    minutes = "" if case.minutes is None else f"{case.minutes:g}"
    return [case.id, case.status, name, *numbers, case.ignored if change else "", minutes, ""]


def summary_text(found: Collection, tasks: TaskFolder) -> str:
    """Return the lines to show: how many cases became what, and how much labels were corrected."""
    counts = Counter(case.status for case in found.cases)
    parts = [f"{counts[status]} {status}" for status in get_args(Status) if counts[status]]
    parts += [f"{len(found.failed)} failed"] if found.failed else []
    lines = [", ".join(parts).replace("_", " ")]
    if counts["unchanged"]:
        lines.append(
            "unchanged proposals are no labels; those that are right: fill in slices in tasks.csv, "
            "or --accept_unchanged"
        )
    labelled = [case for case in found.cases if case.changes]
    for name in dict.fromkeys(label for case in labelled for label in case.changes):
        changes = [case.changes[name] for case in labelled if name in case.changes]
        lines.append(f"{name}: {_mean_change(changes, _kind(tasks), tasks)}")
    minutes = [case.minutes for case in labelled if case.minutes is not None]
    if minutes:
        lines.append(f"{sum(minutes):g} minutes for {counted(len(minutes), 'cases')}")
    return "\n".join(lines)


def _mean_change(changes: Sequence[Any], kind: SizeKind, tasks: TaskFolder) -> str:
    means = {
        key: float(np.mean([change[key] for change in changes]))
        for key in ("dice", "proposed", "labelled", "surface_distance")
    }
    unit = tasks.tasks[0].unit
    return (
        f"Dice of proposal and label {means['dice']:.3f}, {kind.text(means['proposed'])} became "
        f"{kind.text(means['labelled'])}, surface distance {means['surface_distance']:.2f} {unit} "
        f"(means over {counted(len(changes), 'cases')})"
    )


def _kind(tasks: TaskFolder) -> SizeKind:
    """Return the kind of size that the labels of the tasks have."""
    grid: Grid | None = tasks.tasks[0].grid if tasks.tasks else None
    return size_kind(3, "mm") if grid is None else size_kind(spatial_dims_of(grid.shape), grid.unit)
