"""Errors that one scan can cause in transforms, network and writers; they fail that case alone."""

from __future__ import annotations

from nibabel.spatialimages import HeaderDataError

from monai_semiseg.errors import SemisegError, root_cause
from monai_semiseg.inferers.out_of_memory import out_of_memory
from monai_semiseg.plain_text import printable

CASE_ERRORS = (
    SemisegError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    OSError,
    HeaderDataError,
)


def one_line(error: BaseException) -> str:
    """Return kind and first line of an error, for a table."""
    lines = str(error).strip().splitlines()
    return printable(f"{type(error).__name__}: {lines[0] if lines else ''}")


def reason_of(error: BaseException) -> str:
    """Return why a case failed, in one line, whatever MONAI wrapped around it."""
    cause = root_cause(error)
    return cause.reason if isinstance(cause, SemisegError) else one_line(cause)


def code_of(error: BaseException) -> str:
    """Return the stable code of an error, for reports."""
    if isinstance(error, SemisegError):
        return error.code
    return "E_MEMORY" if out_of_memory(error) else "E_INTERNAL"
