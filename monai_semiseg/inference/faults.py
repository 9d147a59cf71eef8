"""What one scan can make transforms, network and writers raise: it fails that case and no other."""

from __future__ import annotations

import torch
from nibabel.spatialimages import HeaderDataError

from monai_semiseg.errors import SemisegError

CASE_ERRORS = (SemisegError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
               MemoryError, OSError, HeaderDataError)  # fmt: skip


def root_of(error: BaseException) -> BaseException:
    """The first typed error among the causes, else the first cause of all."""
    while error.__cause__ is not None and not isinstance(error, SemisegError):
        error = error.__cause__
    return error


def one_line(error: BaseException) -> str:
    """Kind and first line of an error, for a table."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def code_of(error: BaseException) -> str:
    """The stable code that reports carry."""
    if isinstance(error, SemisegError):
        return error.code
    return "E_MEMORY" if out_of_memory(error) else "E_INTERNAL"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or a CPU."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error).lower() for word in words)
