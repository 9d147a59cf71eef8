"""Text for people at a terminal: names from outside command nothing there."""

from __future__ import annotations

import sys
from collections.abc import Callable

from monai_semiseg.errors import SemisegError
from monai_semiseg.plain_text import printable


def say(text: str) -> None:
    """Write lines to standard output, with all but line ends printable."""
    sys.stdout.write(printable(text, keep="\n") + "\n")


def say_aside(text: str) -> None:
    """Write lines to standard error, likewise."""
    sys.stderr.write(printable(text, keep="\n") + "\n")


def show(work: Callable[[], str]) -> int:
    """Write the text of some work, or its typed error; return the exit code."""
    try:
        say(work().rstrip("\n"))
    except SemisegError as error:
        say_aside(str(error))
        return error.exit_code
    return 0
