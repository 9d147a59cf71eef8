"""CSV tables whose cells a spreadsheet shows and does not run as formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from monai_semiseg.errors import ConfigError
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import write_atomically

_FORMULA = tuple("=+-@＝＋－＠")
_QUOTED = (*_FORMULA, "'")  # so that a text that begins with an apostrophe comes back as it was


def write_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], *, exact: bool = False
) -> Path:
    """Write a CSV file atomically, UTF-8, comma-separated; return its path.

    Spreadsheets run a cell that begins with ``=``, ``+``, ``-`` or ``@``, and file names and label
    names are not trusted: such text gets an apostrophe before it. Numbers stay numbers. Characters
    that are not printable, except line ends, are written as their numbers.

    Args:
        path: the file.
        header: names of the columns.
        rows: cells.
        exact: keep such characters, and bytes of file names that are not UTF-8, so that
            :func:`cell_text` gives every text back.
    """
    return write_atomically(path, table_bytes(header, rows, exact=exact))


def table_bytes(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, exact: bool = False
) -> bytes:
    """Return the content of a CSV file as :func:`write_table` writes it.

    Args:
        header: names of the columns.
        rows: cells.
        exact: as in :func:`write_table`.
    """
    as_cell = quoted_cell if exact else safe_cell
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(as_cell(name) for name in header)
    writer.writerows([as_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table with a line end.

    Args:
        header: names of the columns.
        rows: cells, written as they are.
    """
    lines = [header, ["--"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def read_rows(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Read a table that a spreadsheet may have saved: separated by commas, ``;`` or tabs.

    Returns:
        Rows, column -> text; and the names of the columns.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
        head = text.partition("\n")[0]
        separator = max(",;\t", key=head.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        cells = list(reader)
    except (OSError, csv.Error) as error:
        raise ConfigError(f"cannot be read ({error})", expected="a table", path=path) from error
    rows = [
        {str(key).strip(): cell_text((value or "").strip()) for key, value in row.items() if key}
        for row in cells
    ]
    return rows, [str(name).strip() for name in reader.fieldnames or []]


def quoted_cell(cell: Any) -> Any:
    """Return a cell that a spreadsheet shows as text, and :func:`cell_text` gives back."""
    return _as_text(cell, _QUOTED) if isinstance(cell, str) else cell


def cell_text(cell: str) -> str:
    """Return the text of a cell without the apostrophe that keeps it from being a formula."""
    text = cell[1:]
    is_quoted = cell.startswith("'") and text.lstrip().startswith(_QUOTED)
    return text if is_quoted else cell


def safe_cell(cell: Any) -> Any:
    """Return a cell that is safe in a table that a spreadsheet opens."""
    return _as_text(printable(cell, keep="\n"), _FORMULA) if isinstance(cell, str) else cell


def _as_text(text: str, starts: tuple[str, ...]) -> str:
    """Put an apostrophe before a text that begins like a formula and is no number."""
    is_formula = text.lstrip().startswith(starts) and not _is_numeric(text)
    return f"'{text}" if is_formula else text


def _is_numeric(text: str) -> bool:
    """Return True if a text is one number, or several with spaces between them."""
    try:
        return bool([float(word) for word in text.split()])
    except ValueError:
        return False
