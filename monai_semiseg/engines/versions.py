"""Are the installed packages of the releases that a bundle was tested with?"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import re
from pathlib import Path

from monai_semiseg.errors import ConfigError

_LOGGER = logging.getLogger(__name__)


def check_versions(bundle_root: str | Path) -> None:
    """Compare the installed packages with those of a bundle's ``metadata.json``.

    A package of an older release (major.minor) than the tested one, or of another major release, is a warning with
    the command that installs the tested one. A bundle without metadata states nothing, and nothing is checked.

    Raises:
        ConfigError: If a required package is absent.
    """
    file = Path(bundle_root) / "configs" / "metadata.json"
    if not file.is_file():
        return
    meta = json.loads(file.read_text())
    tested = {"monai": meta.get("monai_version"), "torch": meta.get("pytorch_version"),
              "numpy": meta.get("numpy_version"), **meta.get("required_packages_version", {})}  # fmt: skip
    for name, version in tested.items():
        if version is None:
            continue
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(
                f"{name} is not installed",
                expected=f"{name} {version} or a later {_release(version)[0]}.x",
                remedy=f"pip install '{name}=={version}'",
                path=file,
            ) from None
        if _outside(_release(found), _release(version)):
            _LOGGER.warning("W_VERSION %s %s is installed, the bundle was tested with %s: pip install '%s==%s'",
                            name, found, version, name, version)  # fmt: skip


def _release(version: str) -> tuple[int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0)


def _outside(found: tuple[int, int], tested: tuple[int, int]) -> bool:
    return found[0] != tested[0] or found[1] < tested[1]
