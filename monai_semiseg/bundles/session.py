"""The first step of every workflow: seed it, and make its errors, warnings and misspelt options readable."""

from __future__ import annotations

import ast
import ctypes
import difflib
import logging
import platform
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from monai.bundle import ConfigParser
from monai.utils import set_determinism

from monai_semiseg.bundles.versions import check_versions
from monai_semiseg.errors import ConfigError, SemisegError, root_cause

_LOUD = (
    "monai.data.nvimgcodec_pydicom_plugin",
    "monai.bundle.workflows",
    "monai.bundle.config_parser",
)
# As MONAI 1.6 begins them: that configs are code (the CLI asks before it runs a foreign one), an
# argument that MONAI gives itself, and an optional decoder that is absent.
_STANDING_NOTICES = (
    r"parsing config_file ",
    r"monai\.metrics\.utils get_mask_edges:always_return_as_numpy: ",
    r"NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register",
)
_RUN_ARGUMENTS = {
    "run_id",
    "init_id",
    "final_id",
    "meta_file",
    "config_file",
    "logging_file",
    "tracking",
    "args_file",
    "workflow_type",
    "bundle_root",
}


def prepare(seed: int | None = 0, bundle_root: str | Path | None = None) -> None:
    """Begin a workflow; what the bundles' ``initialize`` calls.

    Under ``python -m monai.bundle run``, an override that no config key answers to is refused, and
    a typed error ends the run with its own few lines instead of the config parser's. Randomness is
    seeded. What MONAI says in every run and nobody can act on is hushed. Installed packages are
    held against the bundle's metadata.

    Args:
        seed: of everything random; None leaves it as it is.
        bundle_root: bundle folder.

    Raises:
        ConfigError: If an override is misspelt, or a package that the bundle needs is absent.
    """
    hush()
    _keep_freed_memory()
    if len(sys.argv) > 1 and Path(sys.argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py"):
        sys.excepthook = _short_errors
        refuse_unknown(*overrides_and_keys(sys.argv[1:]))
    if bundle_root is not None:
        check_versions(bundle_root)
    if seed is not None:
        set_determinism(seed=seed)


def _keep_freed_memory() -> None:
    """Let large blocks stay with the process when they are freed (glibc).

    Otherwise every activation is new memory from the system, page by page: a sixth of a training
    step on a CPU.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(-4, 0)  # M_MMAP_MAX
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def hush() -> None:
    """Silence MONAI's standing notices (absent optional codecs, deprecations within MONAI itself)."""
    for message in _STANDING_NOTICES:
        warnings.filterwarnings("ignore", message=message)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)


def overrides_and_keys(argv: Sequence[str]) -> tuple[list[str], set[str]]:
    """Split a ``monai.bundle run`` command line into the overrides it names and the keys its configs know."""
    options = [token.lstrip("-") for token in argv if token.startswith("--")]
    names = [option.split("=", 1)[0] for option in options]
    files: list[str] = []
    for index, token in enumerate(argv):
        if token == "--config_file" and index + 1 < len(argv):
            files += _as_list(argv[index + 1])
        elif token.startswith("--config_file="):
            files += _as_list(token.split("=", 1)[1])
    known = {
        key for file in files if Path(file).is_file() for key in ConfigParser.load_config_file(file)
    }
    return [name for name in names if name not in _RUN_ARGUMENTS], known


def _as_list(text: str) -> list[str]:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return [text]
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def refuse_unknown(overrides: Iterable[str], known: set[str]) -> None:
    """Refuse overrides that no config key answers to: a misspelt path must not fall back to the default folder.

    Raises:
        ConfigError: With the nearest known key.
    """
    for key in overrides:
        top = key.replace("::", "#").split("#")[0]
        if known and top not in known:
            near = difflib.get_close_matches(top, known, n=1)
            raise ConfigError(
                f"unknown setting {key!r}",
                expected="a key of the config",
                remedy=f"did you mean {near[0]!r}?"
                if near
                else f"known are {', '.join(sorted(known))}",
            )


def _short_errors(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    cause = root_cause(error)
    if not isinstance(cause, SemisegError):
        sys.__excepthook__(kind, error, trace)
    else:
        sys.stderr.write(f"{cause}\n")
