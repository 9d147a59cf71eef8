"""Decisions of a reviewer on the masks of a run: ``decisions.csv`` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from monai_semiseg.errors import ConfigError
from monai_semiseg.export.report import RunReport
from monai_semiseg.storage.files import sha256_of
from monai_semiseg.storage.tables import read_rows, write_table

Verdict = Literal["accepted", "rejected", "needs_correction"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
FILE_NAME = "decisions.csv"


@dataclass(frozen=True)
class Decision:
    """Record what a reviewer decided on one mask.

    Attributes:
        id: name of the case: path of its mask without the ending, as ``a/b`` of ``a/b_seg.png``.
        decision: ``accepted``, ``rejected`` or ``needs_correction``.
        time: when, in UTC, as ``2026-08-31T14:05:09+00:00``.
        note: what the reviewer wrote.
        mask_sha256: hash of the mask that was looked at; empty if a person wrote the row by hand.
    """

    id: str
    decision: Verdict
    time: str = ""
    note: str = ""
    mask_sha256: str = ""

    @classmethod
    def now(cls, case: str, decision: Verdict, note: str, mask: Path) -> Decision:
        """Return a decision that is made now on a mask as it is on the disk."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(case, decision, time, note, sha256_of(mask))

    def is_about(self, mask: Path) -> bool:
        """Return False if the mask is absent, or another one than was looked at."""
        return mask.is_file() and self.mask_sha256 in ("", sha256_of(mask))


def read_decisions(folder: Path) -> dict[str, Decision]:
    """Read the decisions on the masks of a run, by case; none if there is no file.

    The file may have been saved by a spreadsheet. Of several rows of a case, the last one counts.

    Raises:
        ConfigError: If a row cannot be read.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    rows, columns = read_rows(path)
    if not {"id", "decision"} <= set(columns):
        raise ConfigError(
            f"columns {', '.join(columns) or 'missing'}", expected=", ".join(_COLUMNS), path=path
        )
    decisions = (_decision(row, line, path) for line, row in enumerate(rows, 2))
    return {decision.id: decision for decision in decisions}


def write_decisions(folder: Path, decisions: Mapping[str, Decision]) -> Path:
    """Write all decisions of a run atomically; return the file.

    Raises:
        OutputError: If it cannot be written.
    """
    rows = [astuple(decisions[case]) for case in sorted(decisions)]
    return write_table(folder / FILE_NAME, _COLUMNS, rows, exact=True)


def accepted_masks(report: RunReport) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the masks of a run that a reviewer accepted, to be used as labels.

    Args:
        report: of the run.

    Returns:
        Case -> mask; and case -> why an accepted mask is left out: it has changed since, or is no
        mask of this run.

    Raises:
        ConfigError: If the decisions cannot be read.
    """
    masks = report.masks
    accepted: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    for case, decision in read_decisions(report.folder).items():
        if decision.decision != "accepted":
            continue
        mask = report.folder / masks[case].output if case in masks else None
        if mask is None:
            left_out[case] = "accepted, but the report of the run has no mask of this name"
        elif decision.is_about(mask):
            accepted[case] = mask
        else:
            left_out[case] = f"{mask}: accepted, but changed or removed since; review it again"
    return accepted, left_out


_COLUMNS = tuple(field.name for field in fields(Decision))


def _decision(row: Mapping[str, str], line: int, path: Path) -> Decision:
    values = [row.get(name, "") for name in _COLUMNS]
    case, verdict, *rest = values
    for known in VERDICTS:
        if verdict == known and case:
            return Decision(case, known, *rest)
    raise ConfigError(
        f"line {line}: id {case!r}, decision {verdict!r}",
        expected=f"the name of a case, and one of {', '.join(VERDICTS)}",
        remedy="correct the line, or remove it",
        path=path,
    )
