"""Which code of this package a result comes from."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import monai_semiseg


@functools.cache
def package_code(root: Path = Path(monai_semiseg.__file__).parent) -> str:
    """Short SHA-256 of the package's source, without the command line and the benchmarks, which compute no result.

    Args:
        root: folder of the package.
    """
    files = sorted(file.relative_to(root) for file in root.rglob("*.py"))
    whole = hashlib.sha256()
    for file in files:
        if file.parts[0] not in ("benchmarks", "cli"):
            whole.update(f"{file.as_posix()}\0".encode() + (root / file).read_bytes() + b"\0")
    return whole.hexdigest()[:12]
