"""Access to the parser that evaluates a config: MONAI does not pass it to expressions."""

from __future__ import annotations

import inspect
from typing import TypeVar

Owner = TypeVar("Owner")


def calling(kind: type[Owner]) -> Owner | None:
    """Return the nearest caller's ``self`` that is a ``kind``, or None.

    A config's expressions get the values that they refer to, never the config itself, and MONAI has
    no registry of its workflows. The caller is on the stack, whoever created it: the command line,
    ``create_workflow``, MONAI Label, another program. It is read, not changed.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, kind):
            return owner
        frame = frame.f_back
    return None
