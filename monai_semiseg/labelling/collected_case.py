"""Record of what became of a task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from monai_semiseg.plain_text import as_json
from monai_semiseg.storage.files import write_if_changed

Status = Literal["corrected", "accepted", "unchanged", "rejected", "not_looked_at", "missing"]
_LABELLED = ("corrected", "accepted")


@dataclass(frozen=True)
class CollectedCase:
    """Record what became of one task.

    Attributes:
        id: of the case.
        status: ``corrected`` and ``accepted`` cases are labelled; an ``unchanged`` proposal, a
            ``rejected`` one, one with no slice that was looked at and one that is ``missing`` are
            not.
        image: of the case, relative to the dataset's folder.
        file: that came back.
        files: label files that were written, relative to the folder of tasks, or absolute.
        voxels: hash of the label's voxels.
        values: numbers of the labels in it.
        ignored: voxels to ignore.
        minutes: that the labeller noted, or None.
        changed: voxels whose label was changed, of those that are not ignored.
        changes: label -> :class:`~monai_semiseg.labelling.corrections.Correction`'s fields.
    """

    id: str
    status: Status
    image: str | list[str] = ""
    file: str = ""
    files: Sequence[str] = ()
    voxels: str = ""
    values: Sequence[int] = ()
    ignored: int = 0
    minutes: float | None = None
    changed: int = 0
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_labelled(self) -> bool:
        """Return True if the case has a label now."""
        return self.status in _LABELLED


@dataclass(frozen=True)
class Collection:
    """Hold the result of a run.

    Attributes:
        cases: one for each task that did not fail.
        failed: case or file -> reason.
        datalist: with the new labels.
    """

    cases: list[CollectedCase]
    failed: dict[str, str]
    datalist: dict[str, Any]


def save_case(case: CollectedCase, path: Path) -> None:
    """Write the record of a case, unless it is there."""
    write_if_changed(path, as_json(asdict(case)) + "\n")


def load_case(path: Path, folder: Path) -> CollectedCase | None:
    """Return a case by its record; None without one, or if a label file has gone.

    Args:
        path: of the record.
        folder: of the tasks, which the paths of label files are relative to.
    """
    if not path.is_file():
        return None
    case = CollectedCase(**json.loads(path.read_text(encoding="utf-8")))
    return case if all((folder / file).is_file() for file in case.files) else None
