"""Files and code of nnU-Net: its JSON files are read, and its modules are imported."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai_semiseg.errors import ConfigError


def nnunet_module(name: str) -> Any:
    """Import a module of nnU-Net, or of the package of its networks.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name.split('.')[0]} is needed for nnU-Net's plans and models ({error})",
            expected="the optional packages",
            remedy="pip install 'monai_semiseg[nnunet]'",
        ) from error


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ConfigError: If there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise ConfigError("no such file", expected=what, path=path)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"is no JSON ({error})", expected=what, path=path) from error
    if not isinstance(content, dict):
        raise ConfigError(f"holds a {type(content).__name__}", expected=what, path=path)
    return content


def refuse_code(content: Any, path: Path) -> None:
    """Refuse texts that MONAI's configs, which take over the plans, would evaluate."""
    found = next((text for text in _texts(content) if _is_code(text)), None)
    if found is not None:
        raise ConfigError(
            f"holds the text {found[:40]!r}, which is code in a MONAI config",
            expected="plain words and numbers",
            path=path,
        )


def _is_code(text: str) -> bool:
    return text.startswith(("$", "@", "%")) or text == "_target_"


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for value in (*node, *node.values()) if isinstance(node, dict) else node:
            yield from _texts(value)
