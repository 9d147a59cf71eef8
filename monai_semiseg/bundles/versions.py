"""Comparison of installed packages with the releases that a bundle was tested with."""

from __future__ import annotations

import importlib.metadata
import json
import logging
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from monai_semiseg.errors import ConfigError

_LOGGER = logging.getLogger(__name__)


def check_versions(bundle_root: str | Path) -> None:
    """Compare the installed packages with those of a bundle's ``metadata.json``.

    A package that is not compatible with the tested release (``~=major.minor``: the same major one,
    and not an older minor one) is a warning with the command that installs the tested one. A bundle
    without metadata states nothing, and nothing is checked.

    Raises:
        ConfigError: If a required package is absent.
    """
    file = Path(bundle_root) / "configs" / "metadata.json"
    if not file.is_file():
        return
    meta = json.loads(file.read_text())
    tested = {
        "monai": meta.get("monai_version"),
        "torch": meta.get("pytorch_version"),
        "numpy": meta.get("numpy_version"),
        **meta.get("required_packages_version", {}),
    }
    for name, version in tested.items():
        if version is None:
            continue
        wanted = SpecifierSet("~={0.major}.{0.minor}".format(Version(version)))
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(
                f"{name} is not installed",
                expected=f"{name}{wanted}",
                remedy=f"pip install '{name}=={version}'",
                path=file,
            ) from None
        if not wanted.contains(found, prereleases=True):
            _LOGGER.warning(
                "W_VERSION %s %s is installed, the bundle was tested with %s: pip install '%s==%s'",
                name,
                found,
                version,
                name,
                version,
            )
