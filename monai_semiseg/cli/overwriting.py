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


def write_output(path: Path, text: str, overwrite: bool) -> None:
    """Write a file, and lose nothing that it says, such as labels that were collected since.

    Args:
        path: of the file.
        text: that is to be written.
        overwrite: whether a file that says something else may be replaced.

    Raises:
        ConfigError: If it may not be, and there is one.
    """
    from monai_semiseg.storage.files import write_atomically

    if not overwrite and path.is_file() and path.read_bytes() != text.encode():
        raise ConfigError(
            "exists, and says something else",
            expected="no file, or the same as this command writes",
            remedy="choose another --output, or add --overwrite to replace it",
            path=path,
        )
    write_atomically(path, text)
