"""Set-up of a command's own process: memory, notices, and how an error ends it."""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
import warnings
from types import TracebackType

from monai_semiseg.errors import SemisegError, root_cause
from monai_semiseg.executors.owner import end_with_owner

_LOUD = (
    "monai.data.nvimgcodec_pydicom_plugin",
    "monai.bundle.workflows",
    "monai.bundle.config_parser",
)
# Beginnings of MONAI 1.6's notices: that configs are code (the CLI asks before it runs a foreign
# one), an argument that MONAI itself sets, and an optional decoder that is absent.
_STANDING_NOTICES = (
    r"parsing config_file ",
    r"monai\.metrics\.utils get_mask_edges:always_return_as_numpy: ",
    r"NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register",
)


def begin_command() -> None:
    """Set up a command's process: keep freed memory, and silence MONAI's standing notices."""
    _hush()
    _keep_freed_memory()


def begin_bundle_command() -> None:
    """Set up the process of ``python -m monai.bundle``; typed errors end it with a short message.

    Other processes are not changed: they belong to the program that imported this package.
    """
    if is_bundle_command():
        begin_command()
        end_with_owner()
        sys.excepthook = _short_errors


def is_bundle_command() -> bool:
    """Return whether Python was started with ``-m monai.bundle``, by the main module's spec."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name == "monai.bundle.__main__"


def _keep_freed_memory() -> None:
    """Keep freed large blocks in the process (glibc).

    Otherwise the system provides new pages for every activation, which takes a sixth of a training
    step on a CPU.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(-4, 0)  # M_MMAP_MAX
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def _hush() -> None:
    """Silence MONAI's standing notices: absent optional codecs, deprecations within MONAI."""
    for message in _STANDING_NOTICES:
        warnings.filterwarnings("ignore", message=message)
    for name in _LOUD:
        # MONAI sets the level anew when it is imported, which may be later; a filter stays.
        logging.getLogger(name).addFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _short_errors(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a typed error in its own few lines, and exit with its code instead of Python's 1."""
    cause = root_cause(error)
    if not isinstance(cause, SemisegError):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(f"{cause}\n")
    raise SystemExit(cause.exit_code)
