"""Find bundles and their methods by name."""

from __future__ import annotations

import difflib
import itertools
from pathlib import Path

from monai_semiseg.errors import ConfigError

SUPERVISED = "supervised"  # the baseline of every method; it needs no overlay


def bundle_folder(name: str | Path) -> Path:
    """Return the folder of a bundle.

    Args:
        name: a folder, or the name of a bundle below ``bundles/`` of the working folder or of the
            clone that the package is installed from.

    Raises:
        ConfigError: If there is no such bundle.
    """
    given = Path(name)
    roots = [Path.cwd() / "bundles", Path(__file__).resolve().parents[2] / "bundles"]
    for folder in (given, *(root / given for root in roots)):
        if (folder / "configs").is_dir():
            return folder
    configs = itertools.chain.from_iterable(root.glob("*/configs") for root in roots)
    known = sorted({path.parent.name for path in configs})
    near = difflib.get_close_matches(given.name, known, n=1)
    raise ConfigError(
        "no such bundle",
        expected=f"a folder with configs/, or one of {', '.join(known)}",
        remedy=f"did you mean {near[0]}?" if near else "name the bundle's folder",
        path=given,
    )


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
    near = difflib.get_close_matches(method, known, n=1)
    raise ConfigError(
        f"no method {method!r}",
        expected=f"one of {', '.join(known)}",
        remedy=f"did you mean {near[0]!r}?" if near else "add a YAML to configs/methods",
    )
