"""Comparison of installed packages with the releases that a bundle was tested with."""

from __future__ import annotations

import importlib.metadata
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from monai_semiseg.errors import ConfigError

_LOGGER = logging.getLogger(__name__)
# Packages that have keys of their own in MONAI's metadata.
_KEYS = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
_OTHERS = "required_packages_version"


def check_versions(bundle_root: str | Path) -> None:
    """Compare the installed packages with those of a bundle's ``metadata.json``.

    A package that is not compatible with the tested release (``~=major.minor``: the same major
    version, and no older minor version) is a warning with the command that installs the tested
    release. For a bundle without metadata, nothing is checked.

    Raises:
        ConfigError: If a required package is absent.
    """
    file = Path(bundle_root) / "configs" / "metadata.json"
    if not file.is_file():
        return
    meta = json.loads(file.read_text())
    tested = {name: meta.get(key) for name, key in _KEYS.items()} | meta.get(_OTHERS, {})
    for name, version in tested.items():
        if version is not None:
            _check_version(name, version, file)


def with_installed_versions(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with the releases that are installed in place of those that it names."""
    installed = importlib.metadata.version
    own = {key: Version(installed(name)).public for name, key in _KEYS.items()}
    others = {name: installed(name) for name in metadata.get(_OTHERS, {})}
    return {**metadata, **own, _OTHERS: others}


def _check_version(name: str, version: str, metadata: Path) -> None:
    tested = Version(version)
    wanted = SpecifierSet(f"~={tested.major}.{tested.minor}")
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"{name} is not installed",
            expected=f"{name}{wanted}",
            remedy=f"pip install '{name}=={version}'",
            path=metadata,
        ) from None
    if not wanted.contains(found, prereleases=True):
        _LOGGER.warning(
            f"W_VERSION {name} {found} is installed, the bundle was tested with {version}: "
            f"pip install '{name}=={version}'"
        )
