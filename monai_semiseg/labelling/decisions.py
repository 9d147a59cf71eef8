"""Decisions of a reviewer, as the page of ``review`` keeps them beside the masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from monai_semiseg.datasets.case_names import stem_of
from monai_semiseg.datasets.table import table_rows
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.tasks import Task

DECISIONS = "decisions.csv"
ACCEPT = "accept"
REJECT = "reject"
NEEDS_CORRECTION = "needs_correction"
_KNOWN = (ACCEPT, REJECT, NEEDS_CORRECTION)


def read_decisions(folders: Sequence[Path]) -> dict[str, str]:
    """Return id -> decision of the tables in some folders; of several, the last one.

    Args:
        folders: where ``decisions.csv`` may lie.

    Raises:
        ConfigError: If a table has no columns ``id`` and ``decision``, or another decision.
    """
    found: dict[str, str] = {}
    for folder in folders:
        file = folder / DECISIONS
        if not file.is_file():
            continue
        rows, columns = table_rows(file)
        odd = {row.get("decision", "") for row in rows} - {*_KNOWN, ""}
        if odd or not {"id", "decision"} <= set(columns):
            raise ConfigError(
                f"decisions {', '.join(sorted(odd))}" if odd else f"columns {', '.join(columns)}",
                expected=f"the columns id and decision, with {', '.join(_KNOWN)}",
                path=file,
            )
        found |= {row["id"]: row["decision"] for row in rows if row["decision"]}
    return found


def decision_of(task: Task, decisions: dict[str, str]) -> str:
    """Return the decision on a task, by any name that its mask has; empty if there is none."""
    masks = [PurePosixPath(path) for path in (task.mask, task.proposal)]
    names = [task.id, task.name, f"{task.name}/{task.name}"]
    names += [text for mask in masks for text in (str(mask), mask.name, stem_of(mask.name))]
    return next((decisions[name] for name in names if name in decisions), "")
