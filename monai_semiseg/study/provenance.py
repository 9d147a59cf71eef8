"""Provenance of a result: the version of this package's code that computed it."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import monai_semiseg
from monai_semiseg.storage.files import sha256_of

UNKNOWN = "not noted"


@functools.cache
def package_code(root: Path = Path(monai_semiseg.__file__).parent) -> str:
    """Return a short SHA-256 of the package's source.

    The command line and the benchmarks compute no result and are left out.

    Args:
        root: folder of the package.
    """
    files = (
        file
        for file in sorted(root.rglob("*.py"))
        if file.relative_to(root).parts[0] not in ("benchmarks", "cli")
    )
    lines = [f"{sha256_of(file)}  {file.relative_to(root).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
