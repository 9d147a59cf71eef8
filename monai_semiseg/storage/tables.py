"""CSV tables whose cells a spreadsheet shows and does not run as formulas."""

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
    names are not trusted: such text gets an apostrophe before it. Numbers stay numbers. Characters
    that are not printable, except line ends, are written as their numbers.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(safe_cell(name) for name in header)
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return write_atomically(path, text.getvalue())


def safe_cell(cell: Any) -> Any:
    """Return a cell that is safe in a table that a spreadsheet opens."""
    if not isinstance(cell, str):
        return cell
    text = printable(cell, keep="\n")
    is_formula = text.lstrip().startswith(tuple(_FORMULA)) and not _is_numeric(text)
    return f"'{text}" if is_formula else text


def _is_numeric(text: str) -> bool:
    """Return True if a text is one number, or several with spaces between them."""
    try:
        return bool([float(word) for word in text.split()])
    except ValueError:
        return False
