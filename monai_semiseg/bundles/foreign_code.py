"""Search for foreign code in a bundle's configs, before any of it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from monai_semiseg.bundles.keys import load_config
from monai_semiseg.errors import ConfigError

# Classes that need no trust: MONAI's by their short names, this package's, and torch's layers.
_TARGETS = re.compile(r"[A-Z]\w*|monai\.[\w.]+|monai_semiseg\.[\w.]+|torch\.nn\.[\w.]+")


def known_expressions() -> frozenset[str]:
    """Return the reviewed expressions of our own bundles' ``inference.json``."""
    text = resources.files("monai_semiseg.bundles").joinpath("known_expressions.txt").read_text()
    return frozenset(text.splitlines())


def foreign_code(configs: Sequence[str | Path]) -> list[str]:
    """Find code that is not ours or MONAI's: expressions, other classes, and other files.

    The files are read as text; nothing in them is evaluated.

    Args:
        configs: JSON or YAML files.

    Returns:
        What was found, each as ``key: text``.

    Raises:
        ConfigError: If one cannot be read.
    """
    known = known_expressions()
    found = []
    for file in configs:
        for key, text in _strings(load_config(file), ""):
            is_code = text.startswith("$") and text not in known
            is_target = key.endswith("_target_") and not text.startswith("$")
            is_class = is_target and not _TARGETS.fullmatch(text)
            is_file = text.startswith("%") and "::" in text
            if is_code or is_class or is_file:
                found.append(f"{Path(file).name} {key}: {text}")
    return found


def require_trust(code: Sequence[str], bundle: str | Path) -> None:
    """Refuse a bundle that would run foreign code, as :func:`foreign_code` found it.

    Raises:
        ConfigError: If there is any.
    """
    if code:
        raise ConfigError(
            f"{len(code)} pieces of foreign code would run, the first is {code[0]}",
            expected="a bundle of this project, or one that you trust",
            remedy="read the list above, then pass --trust",
            path=bundle,
        )


def _strings(node: Any, key: str, seen: set[int] | None = None) -> Iterator[tuple[str, str]]:
    """Yield all strings with their keys.

    Nodes that YAML anchors repeat are visited once; otherwise a small file could take for ever.
    """
    seen = set() if seen is None else seen
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, dict | list) and id(node) not in seen:
        seen.add(id(node))
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _strings(value, f"{key}#{name}" if key else str(name), seen)
