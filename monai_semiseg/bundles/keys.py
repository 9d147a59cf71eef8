"""Every key of a merged config is one that the bundle has, or one that the config itself uses; others are misspelt."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

import yaml
from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser, ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY, MACRO_KEY, MERGE_KEY, merge_kv
from monai.transforms import MapTransform

from monai_semiseg.errors import ConfigError

Config = dict[str, Any]
ENTRIES = ("initialize", "run", "finalize")  # what MONAI evaluates by these names


@dataclass(frozen=True)
class _Problem:
    """A key that is out of place.

    Attributes:
        key: its id.
        found: what is wrong with it.
        known: keys that could have been meant.
        remedy: what else to do.
        expected: what should stand there.
    """

    key: str
    found: str
    known: Collection[str] = ()
    remedy: str = ""
    expected: str = "a key of the bundle's config, or one that the config refers to"


def merge_configs(files: Sequence[str | Path], settings: Mapping[str, Any]) -> Config:
    """Merge configs and settings as MONAI does, and refuse every key that has no place.

    A key has a place if the first file has it, if it is a parameter of the ``_target_`` that it is
    given to, or if the merged config refers to it (``@key``): that is how a method brings keys of
    its own. The content of plain data (``label_names``) is free.

    Args:
        files: the bundle's config, then what is merged over it (a plan, a method, one's own).
        settings: values by id, over all of them.

    Raises:
        ConfigError: With the file, the key and the nearest one that is known.
    """
    base = load_config(files[0])
    config = _merged(files, settings)
    problem = next(_problems(config, base, ENTRIES), None)
    if problem is not None:
        _raise(problem, _origin(problem.key, files))
    return config


def _merged(files: Sequence[str | Path], settings: Mapping[str, Any]) -> Config:
    parser = ConfigParser(load_config(files[0]))
    layers = [*((file, load_config(file)) for file in files[1:]), (None, settings)]
    for file, content in layers:
        for key, value in content.items():
            _put(parser, str(key), value, file)
    config: Config = parser.get()
    return config


def refuse_unknown_keys(
    config: Config, bundle_configs: Sequence[str | Path], entries: Collection[str] = ENTRIES
) -> None:
    """Refuse keys without a place in a config that somebody else merged, as :func:`merge_configs` does.

    Which of the bundle's configs it began with is seen by its keys: merging takes none away.

    Args:
        config: merged content.
        bundle_configs: JSON files that it may have begun with.
        entries: keys that are evaluated from outside.

    Raises:
        ConfigError: With the key and the nearest one that is known.
    """
    contents = [load_config(file) for file in bundle_configs]
    begun = sorted((base for base in contents if base.keys() <= config.keys()), key=len)
    if begun:
        known = functools.reduce(lambda all_, base: {**all_, **base}, begun)
        problem = next(_problems(config, known, entries), None)
        if problem is not None:
            _raise(problem, None)


def _raise(problem: _Problem, path: str | Path | None) -> None:
    name = problem.key.rsplit(ID_SEP_KEY, 1)[-1]
    near = difflib.get_close_matches(name, problem.known, n=1)
    known = f"known are {', '.join(sorted(problem.known))}" if problem.known else ""
    raise ConfigError(
        problem.found,
        expected=problem.expected,
        remedy=problem.remedy or (f"did you mean {near[0]!r}?" if near else known),
        path=path,
    )


def load_config(file: str | Path) -> Config:
    """Read a YAML or JSON of keys and values; no tag in it builds anything.

    Raises:
        ConfigError: If it cannot be read, or holds something else.
    """
    try:
        content: Any = ConfigParser.load_config_file(str(file))
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot be read ({str(error).splitlines()[0]})",
            expected="YAML or JSON with keys and values",
            path=file,
        ) from error
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ConfigError(found, expected="YAML or JSON with keys and values", path=file)
    return content


def _put(parser: ConfigParser, key: str, value: Any, file: str | Path | None) -> None:
    try:
        merge_kv(parser, key, value)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        node, known = parser.get(), {}
        for part in ReferenceResolver.split_id(key.removeprefix(MERGE_KEY)):
            known = node if isinstance(node, dict) else {}
            if part not in known:
                break
            node = known[part]
        _raise(_Problem(part, f"unknown setting {key!r}", known, "" if known else str(error)), file)


def _origin(key: str, files: Sequence[str | Path]) -> str | Path | None:
    """The file that brings a key that has no place; None if a setting does."""
    base = load_config(files[0])
    for number in range(1, len(files)):
        config = _merged(files[: number + 1], {})
        if key in (problem.key for problem in _problems(config, base, ENTRIES)):
            return files[number]
    return None


def _problems(config: Config, base: Config, entries: Collection[str]) -> Iterator[_Problem]:
    own = {key: value for key, value in config.items() if key != ConfigParser.meta_key}
    used = frozenset(references(own)) | frozenset(entries)
    yield from _of_section(own, base, "", used)


def references(node: Any) -> Iterator[str]:
    """Yield the ids that the texts of a config refer to, by ``@`` or by ``%``."""
    if isinstance(node, str):
        yield from ReferenceResolver.match_refs_pattern(node)
        if node.startswith(MACRO_KEY):
            yield ReferenceResolver.normalize_id(node.removeprefix(MACRO_KEY))
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from references(value)


def _of_section(node: Config, base: Config, key: str, used: frozenset[str]) -> Iterator[_Problem]:
    """A mapping of components: every key is the bundle's, or used."""
    lost = [name for name in base if name not in node] if key else []
    if lost:
        yield _replaced(key, lost[0])
    for name, value in node.items():
        here = f"{key}{ID_SEP_KEY}{name}" if key else str(name)
        if name in base or _is_used(here, used):
            yield from _of_value(value, base.get(name), here, used)
        else:
            yield _Problem(here, f"unknown setting {here.replace(ID_SEP_KEY, '#')!r}", base.keys())


def _is_used(key: str, used: frozenset[str]) -> bool:
    """Whether something refers to it, to what holds it, or to what it holds."""
    return any(
        f"{key}{ID_SEP_KEY}".startswith(f"{other}{ID_SEP_KEY}")
        or other.startswith(f"{key}{ID_SEP_KEY}")
        for other in used
    )


def _of_value(value: Any, base: Any, key: str, used: frozenset[str]) -> Iterator[_Problem]:
    if isinstance(value, str) and not value.startswith(("$", "@", "%")):
        yield from _of_text(value, base, key)
    if isinstance(value, list):
        for number, item in enumerate(value):
            old = base[number] if isinstance(base, list) and number < len(base) else None
            yield from _of_value(item, old, f"{key}{ID_SEP_KEY}{number}", used)
    if not isinstance(value, dict):
        return
    old = base if isinstance(base, dict) else {}
    if "_target_" in value:
        yield from _of_component(value, old, key)
    elif "_target_" in old:
        yield _replaced(key, "_target_")
    elif key not in used and _holds_component(old):
        yield from _of_section(value, old, key, used)
        return
    for name, item in value.items():
        yield from _of_value(item, old.get(name), f"{key}{ID_SEP_KEY}{name}", used)


def _of_text(value: str, base: Any, key: str) -> Iterator[_Problem]:
    """Refuse text for a number or a truth value: any text counts as true, even "false"."""
    numbers = base if isinstance(base, list) and base else [base]
    if isinstance(base, bool):
        expected, remedy = "true or false", "write True or False, without quotes"
    elif all(isinstance(number, int | float) for number in numbers):
        expected = "numbers in a list" if isinstance(base, list) else "a number"
        remedy = "write it without quotes, and small numbers as 1.0e-3 (YAML takes 1e-3 for text)"
    else:
        return
    found = f"{key.replace(ID_SEP_KEY, '#')!r} is the text {value!r}"
    yield _Problem(key, found, remedy=remedy, expected=expected)


def _replaced(key: str, lost: str) -> _Problem:
    name = key.replace(ID_SEP_KEY, "#")
    return _Problem(
        key,
        f"{name!r} is replaced as a whole and loses {lost!r}",
        remedy=f"write '{name}#KEY: value' for a part of it, or '+{name}:' to merge",
    )


def _holds_component(node: Any) -> bool:
    if isinstance(node, dict):
        return "_target_" in node or any(_holds_component(value) for value in node.values())
    return isinstance(node, list) and any(_holds_component(value) for value in node)


def _of_component(value: Config, base: Config, key: str) -> Iterator[_Problem]:
    """A mapping with a ``_target_``: every key is one of its parameters."""
    target = value["_target_"]
    old = base.keys() if base.get("_target_") == target else set()
    new = [name for name in value if name not in old and name not in ConfigComponent.non_arg_keys]
    accepted = _parameters(target) if new and isinstance(target, str) else None
    for name in new if accepted is not None else []:
        if name not in (accepted or ()):
            here = f"{key}{ID_SEP_KEY}{name}"
            found = f"{target.rsplit('.', 1)[-1]} has no parameter for {here.replace('::', '#')!r}"
            yield _Problem(here, f"unknown setting: {found}", accepted or ())


@functools.cache
def _locator() -> ComponentLocator:
    return ComponentLocator()


@functools.cache
def _parameters(target: str) -> frozenset[str] | None:
    """Names of what a class or function takes; None if that is open, or cannot be known."""
    if target.startswith(("$", "@", "%")):
        return None
    try:
        found = locate(
            ConfigComponent({"_target_": target}, locator=_locator()).resolve_module_name()
        )
    except ErrorDuringImport:
        return None  # whoever builds it gets the error
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
    """What is called, one after the other as far as ``**settings`` are handed on."""
    if not inspect.isclass(found):
        return [found] if callable(found) else []
    if issubclass(found, MapTransform):  # hands settings to what it wraps, not to its parents
        return [found.__init__]
    classes = [kind for kind in found.__mro__ if kind is not object]
    if any("__new__" in vars(kind) for kind in classes):
        return []
    return [vars(kind)["__init__"] for kind in classes if "__init__" in vars(kind)]
