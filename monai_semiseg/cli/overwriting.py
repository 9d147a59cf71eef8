"""Files that a verb writes for people to edit or extend: changes in them are not lost."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semiseg.errors import ConfigError


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Declare the option that allows a changed file to be replaced."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an --output that says something else"
    )


def require_replaceable(path: Path, text: str, overwrite: bool) -> None:
    """Refuse to replace a file that says something else, such as labels that were collected since.

    Args:
        path: of the file.
        text: that is to be written.
        overwrite: whether the user allows it.

    Raises:
        ConfigError: If the file exists and differs from the text.
    """
    if overwrite or not path.is_file():
        return
    if path.read_text(encoding="utf-8", errors="replace") != text:
        raise ConfigError(
            "exists, and says something else",
            expected="no file, or the same as this command writes",
            remedy="choose another --output, or add --overwrite to replace it",
            path=path,
        )
