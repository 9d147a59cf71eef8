"""What the verbs that read a whole folder say of cases that they leave out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping


def report_left_out(left_out: Mapping[str, str], notes: Iterable[str] = ()) -> int:
    """Write remarks and left-out cases to stderr, each once.

    Args:
        left_out: case -> reason.
        notes: what the readers had to say of the others.

    Returns:
        The exit code: 3 if a case was left out, else 0.
    """
    for note in dict.fromkeys(notes):
        sys.stderr.write(f"{note}\n")
    for case, reason in left_out.items():
        sys.stderr.write(f"left out: {case}: {reason}\n")
    return 3 if left_out else 0
