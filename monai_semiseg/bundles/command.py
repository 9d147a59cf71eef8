"""The ``python -m monai.bundle run`` command that equals a run of ours."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def bundle_command(
    config: Path,
    overlays: Sequence[Path],
    settings: Mapping[str, Any],
    python: str = sys.executable,
) -> list[str]:
    """Return the words of the command that runs a config with overlays and settings.

    Args:
        config: ``BUNDLE/configs/NAME.json``.
        overlays: files merged over it, in this order.
        settings: values for keys of the configs.
        python: the interpreter.
    """
    files = [str(config), *map(str, overlays)]
    options: list[str] = []
    for key, value in settings.items():
        options += [f"--{key}", str(value)]
    run = [python, "-m", "monai.bundle", "run"]
    root = str(config.parents[1])
    return [*run, "--config_file", str(files), "--bundle_root", root, *options]


def shell_text(words: Sequence[str]) -> str:
    """Return words as one line for a POSIX shell, with the quotes that are easiest to read."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if "'" in word and not any(mark in word for mark in '"$`\\!'):
        return f'"{word}"'
    return shlex.quote(word)
