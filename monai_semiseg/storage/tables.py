"""Tables as CSV that a spreadsheet shows and does not run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import write_atomically

_FORMULA = "=+-@＝＋－＠"


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV file atomically, UTF-8, comma-separated; return its path.

    Spreadsheets run a cell that begins with ``=``, ``+``, ``-`` or ``@``, and file names and label
    names come from anywhere: such text gets an apostrophe before it. Numbers stay numbers.
    Characters that are not printable, but for line ends, are written as their numbers.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(safe_cell(name) for name in header)
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return write_atomically(path, text.getvalue())


def safe_cell(cell: Any) -> Any:
    """Return a cell as it may stand in a table that a spreadsheet opens."""
    if not isinstance(cell, str):
        return cell
    text = printable(cell, keep="\n")
    runs = text.lstrip().startswith(tuple(_FORMULA)) and not _numbers(text)
    return f"'{text}" if runs else text


def _numbers(text: str) -> bool:
    """Whether a text is one number, or several with spaces between."""
    try:
        return bool([float(word) for word in text.split()])
    except ValueError:
        return False
