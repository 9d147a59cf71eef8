"""Find bundles and their methods by name."""

from __future__ import annotations

import os
from pathlib import Path

from monai_semiseg.errors import ConfigError, did_you_mean

SUPERVISED = "supervised"  # the baseline of every method; it needs no overlay


def shipped_bundles() -> Path:
    """Return the folder of the bundles that come with the package.

    A wheel holds them as ``monai_semiseg/shipped_bundles`` (``package_dir`` of ``setup.cfg``). A
    clone, and an editable install of it, have them in ``bundles/``.
    """
    installed = _installed_bundles()
    return installed if installed.is_dir() else installed.parents[1] / "bundles"


def _installed_bundles() -> Path:
    return Path(__file__).resolve().parents[1] / "shipped_bundles"


def _search_folders() -> list[Path]:
    return [Path("bundles"), shipped_bundles()]


def known_bundles() -> dict[str, Path]:
    """Return the folder of every bundle that :func:`bundle_folder` finds by its name, sorted."""
    found: dict[str, Path] = {}
    for root in reversed(_search_folders()):  # the first folder wins
        found |= {configs.parent.name: configs.parent for configs in root.glob("*/configs")}
    return dict(sorted(found.items()))


def bundle_folder(name: str | Path) -> Path:
    """Return the folder of a bundle.

    Args:
        name: a folder, or the name of a bundle below ``bundles/`` of the working folder or of one
            that comes with the package.

    Raises:
        ConfigError: If there is no such bundle.
    """
    given = Path(name)
    for folder in (given, *(root / given for root in _search_folders())):
        if (folder / "configs").is_dir():
            return folder
    known = known_bundles()
    raise ConfigError(
        "no such bundle",
        expected=f"a folder with configs/, or one of {', '.join(known)}",
        remedy=did_you_mean(given.name, known, "name the bundle's folder"),
        path=given,
    )


def output_root(bundle_root: str | Path) -> Path:
    """Return the folder below which a bundle's workflows write if no other is asked for.

    It is the bundle, as MONAI's bundles have it. A bundle that was installed with the package, or
    that must not be written, is left as it is: its runs go below ``runs/NAME`` of the working
    folder.

    Args:
        bundle_root: bundle folder, as the config has it.
    """
    bundle = Path(bundle_root).resolve()
    installed = bundle.is_relative_to(_installed_bundles())
    if installed or not os.access(bundle, os.W_OK):
        return Path("runs") / bundle.name
    return Path(bundle_root)


def methods_of(bundle: Path) -> dict[str, Path | None]:
    """Return the config overlay of every method that a bundle can be trained with, by name.

    ``supervised`` has none. Methods of a ``semisupervised_baselines`` beside the bundle come first;
    a method of the bundle replaces one of the same name.
    """
    overlays: dict[str, Path | None] = {SUPERVISED: None}
    for folder in (bundle.resolve().parent / "semisupervised_baselines", bundle):
        overlays |= {file.stem: file for file in sorted(folder.glob("configs/methods/*.yaml"))}
    return overlays


def method_overlay(bundle: Path, method: str) -> Path | None:
    """Return the config overlay of one method; None for supervised learning.

    Args:
        bundle: the bundle that is trained.
        method: a name as in :func:`methods_of`.

    Raises:
        ConfigError: If there is no such method.
    """
    known = methods_of(bundle)
    if method in known:
        return known[method]
    raise ConfigError(
        f"no method {method!r}",
        expected=f"one of {', '.join(known)}",
        remedy=did_you_mean(method, known, "add a YAML to configs/methods"),
    )
