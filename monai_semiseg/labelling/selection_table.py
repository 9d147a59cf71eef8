"""Table of a selection: which scans to label, in order, and why others were set apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.layout import files_text
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.tables import read_rows, write_table

if TYPE_CHECKING:  # split reads a table, and needs no network for it
    from monai_semiseg.labelling.selection import Selection

LABEL = "label"
APART = "set apart"
DUPLICATE = "duplicate"
COLUMNS = ("rank", "id", "group", "image", "strategy", "score", "status", "reason")


def write_selection(selection: Selection, dataset: ScanDataset, path: Path) -> Path:
    """Write a selection as CSV, which a spreadsheet opens, and return its path.

    Scans to label come first and have a rank; then those that were set apart, and duplicates.
    Scans that were neither have no row. Paths are relative to the data set's folder.
    """
    return write_table(path, COLUMNS, _rows(selection, dataset), exact=True)


def read_selection(path: Path) -> list[str]:
    """Return the ids of the scans to label, in the order of the rows.

    Rows may be removed, added or sorted in a spreadsheet: what counts is ``status``. A table of ids
    alone, without this column, means all of its rows.

    Raises:
        ConfigError: If there is no such table, or it names no scan, or one twice.
    """
    if not path.is_file():
        raise ConfigError("no such file", expected="a table of monai-semiseg select", path=path)
    rows, columns = read_rows(path)
    if "id" not in columns:
        raise ConfigError(
            f"columns {', '.join(columns)}",
            expected="a column id, as monai-semiseg select writes it",
            path=path,
        )
    ids = [row["id"] for row in rows if row.get("id") and row.get("status", LABEL) == LABEL]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice or not ids:
        raise ConfigError(
            f"names {twice[0]} twice" if twice else f"no row with status {LABEL}",
            expected="one row for each scan to label",
            path=path,
        )
    return ids


def _rows(selection: Selection, dataset: ScanDataset) -> Iterator[tuple[str | int, ...]]:
    cases = {case.id: case for case in dataset.cases}
    for rank, one in enumerate(selection.chosen, 1):
        score = "" if one.score is None else f"{one.score:.4g}"
        case = one.case
        about = (case.id, case.group, files_text(case.image), selection.strategy, score)
        yield rank, *about, LABEL, one.reason
    copies = {name: f"nearly the same as {kept}" for name, kept in selection.duplicates.items()}
    for status, reasons in ((APART, selection.apart), (DUPLICATE, copies)):
        for name, reason in reasons.items():
            case = cases[name]
            yield "", name, case.group, files_text(case.image), "", "", status, reason
