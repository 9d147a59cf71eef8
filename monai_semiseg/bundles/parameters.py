"""Parameters of what a config's ``_target_`` names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pydoc import ErrorDuringImport, locate
from typing import Any

from monai.bundle import ComponentLocator, ConfigComponent
from monai.transforms import MapTransform


@functools.cache
def _locator() -> ComponentLocator:
    return ComponentLocator()


@functools.cache
def parameters_of(target: str) -> frozenset[str] | None:
    """Return the parameter names of a class or function; None if open or unknown."""
    if target.startswith(("$", "@", "%")):
        return None
    try:
        component = ConfigComponent({"_target_": target}, locator=_locator())
        found = locate(component.resolve_module_name())
    except ErrorDuringImport:
        return None  # building the component raises the error
    names: set[str] = set()
    for function in _constructors(found):
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return None
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return frozenset(names - {"self"})
    return None


def _constructors(found: Any) -> list[Callable[..., Any]]:
    """Return the functions that are called in turn as long as ``**settings`` are passed on."""
    if not inspect.isclass(found):
        return [found] if callable(found) else []
    if issubclass(found, MapTransform):  # hands settings to what it wraps, not to its parents
        return [found.__init__]
    classes = [kind for kind in found.__mro__ if kind is not object]
    if any("__new__" in vars(kind) for kind in classes):
        return []
    return [vars(kind)["__init__"] for kind in classes if "__init__" in vars(kind)]
