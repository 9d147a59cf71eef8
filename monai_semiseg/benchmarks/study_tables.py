"""Tables of finished studies, made anew from their results.csv with the statistics of today.

Intervals, gates and answers of a study that was run long ago are then those that a study gives
now. Nothing is trained. ``report.html`` stays as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_semiseg.cli.terminal import show
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.study.completed_runs import read_study, score_rows
from monai_semiseg.study.report import write_tables
from monai_semiseg.study.tables import as_markdown


def remake(folder: Path, full: int) -> str:
    """Write the tables and figures of a study's folder again; return the table and the answer.

    Args:
        folder: with ``results.csv`` and ``protocol.json``.
        full: number of labelled cases outside the test set.

    Raises:
        ConfigError: If the folder does not hold both files.
    """
    _, cells = read_study(folder)
    rows = score_rows(cells)
    fewest = min(row.labelled for row in rows)
    summaries, sentences = write_tables(rows, folder, full=full, fewest=fewest)
    text = "\n".join(sentences) + "\n"
    write_atomically(folder / "answer.txt", text)
    return f"{as_markdown(summaries)}\n{text}"


def main() -> int:
    """Make the tables of one folder anew and print them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="results of a study")
    parser.add_argument(
        "--full", type=int, required=True, help="labelled cases outside the test set: all labels"
    )
    args = parser.parse_args()
    return show(lambda: remake(args.folder, args.full))


if __name__ == "__main__":
    sys.exit(main())
