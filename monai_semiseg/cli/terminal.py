"""Text for people at a terminal: names from outside command nothing there."""

from __future__ import annotations

import sys

from monai_semiseg.plain_text import printable


def say(text: str) -> None:
    """Write lines to standard output, with all but line ends printable."""
    sys.stdout.write(printable(text, keep="\n") + "\n")


def say_aside(text: str) -> None:
    """Write lines to standard error, likewise."""
    sys.stderr.write(printable(text, keep="\n") + "\n")
