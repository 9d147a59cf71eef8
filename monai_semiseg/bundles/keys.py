"""Check of config keys: each is one of the bundle's, or used by the merged config itself."""

from __future__ import annotations

import copy
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import (
    DEFAULT_EXP_MGMT_SETTINGS,
    ConfigComponent,
    ConfigParser,
    ReferenceResolver,
)
from monai.bundle.utils import ID_SEP_KEY, MACRO_KEY, MERGE_KEY, merge_kv

from monai_semiseg.bundles.parameters import parameters_of
from monai_semiseg.errors import ConfigError, did_you_mean

Config = dict[str, Any]
ENTRIES = ("initialize", "run", "finalize")  # what MONAI evaluates by these names
# What MONAI adds of its own, for tracking and for federated clients.
TRACKING = frozenset(
    name
    for setup in DEFAULT_EXP_MGMT_SETTINGS.values()
    for name in setup["configs"].keys() - setup["handlers_id"].keys()
)


@dataclass(frozen=True)
class _Problem:
    """Unknown or misplaced key of a config.

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
    """Merge configs and settings as MONAI does, and refuse every unknown key.

    A key is known if the first file has it, if it is a parameter of its ``_target_``, or if the
    merged config refers to it (``@key``): so a method can add keys of its own. The content of plain
    data (``label_names``) is not checked.

    Args:
        files: the bundle's config, then files merged over it (a plan, a method, the user's).
        settings: values by id, merged last.

    Raises:
        ConfigError: With the file, the key and the most similar known key.
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
    """Refuse unknown keys in a config that somebody else merged, as :func:`merge_configs` does.

    The bundle's config from which it was merged is recognised by its keys: merging removes none.

    Args:
        config: merged content.
        bundle_configs: JSON files from which it may have been merged.
        entries: keys that are evaluated from outside.

    Raises:
        ConfigError: With the key and the most similar known key.
    """
    contents = [load_config(file) for file in bundle_configs]
    bases = sorted((base for base in contents if base.keys() <= config.keys()), key=len)
    if bases:
        known = functools.reduce(lambda all_, base: {**all_, **base}, bases)
        problem = next(_problems(config, known, {*entries, *TRACKING}), None)
        if problem is not None:
            _raise(problem, None)


def _raise(problem: _Problem, path: str | Path | None) -> None:
    name = problem.key.rsplit(ID_SEP_KEY, 1)[-1]
    remedy = problem.remedy
    if not remedy and problem.known:
        known = f"known are {', '.join(sorted(problem.known))}"
        remedy = did_you_mean(name, problem.known, known)
    raise ConfigError(
        problem.found,
        expected=problem.expected,
        remedy=remedy,
        path=path,
    )


def load_config(file: str | Path) -> Config:
    """Read a YAML or JSON of keys and values; no tag in it builds anything.

    A file is parsed once, and again if its bytes have changed.

    Raises:
        ConfigError: If it cannot be read, or holds something else.
    """
    written = Path(file).read_bytes() if Path(file).is_file() else b""
    try:
        content = copy.deepcopy(_parsed(str(file), written))
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


@functools.lru_cache(maxsize=64)  # by the bytes, too: a file that was changed is parsed again
def _parsed(file: str, written: bytes) -> Any:
    return ConfigParser.load_config_file(file)


def _put(parser: ConfigParser, key: str, value: Any, file: str | Path | None) -> None:
    try:
        merge_kv(parser, key, value)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        part, known = _first_unknown(parser.get(), key.removeprefix(MERGE_KEY))
        _raise(_Problem(part, f"unknown setting {key!r}", known, "" if known else str(error)), file)


def _first_unknown(node: Any, key: str) -> tuple[str, Config]:
    """Return the first part of an id that its parent does not have, and that parent's content."""
    known: Config = {}
    part = key
    for part in ReferenceResolver.split_id(key):
        known = node if isinstance(node, dict) else {}
        if part not in known:
            break
        node = known[part]
    return part, known


def _origin(key: str, files: Sequence[str | Path]) -> str | Path | None:
    """Return the file that adds an unknown key; None if a setting does."""
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
    """Check a mapping of components: every key is the bundle's, or used."""
    lost = next((name for name in base if name not in node), None)
    if key and lost is not None:
        yield _replaced(key, lost)
    for name, value in node.items():
        here = f"{key}{ID_SEP_KEY}{name}" if key else str(name)
        if name in base or _is_used(here, used):
            yield from _of_value(value, base.get(name), here, used)
        else:
            yield _Problem(here, f"unknown setting {here.replace(ID_SEP_KEY, '#')!r}", base.keys())


def _is_used(key: str, used: frozenset[str]) -> bool:
    """Return whether a reference points to the key, to its parents, or to its children."""
    below = f"{key}{ID_SEP_KEY}"
    return any(
        below.startswith(f"{other}{ID_SEP_KEY}") or other.startswith(below) for other in used
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
        expected = "true or false"
        remedy = "write True or False, without quotes"
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
    """Check a mapping with a ``_target_``: every key is one of its parameters."""
    target = value["_target_"]
    old = base.keys() if base.get("_target_") == target else set()
    new = [name for name in value if name not in old and name not in ConfigComponent.non_arg_keys]
    accepted = parameters_of(target) if new and isinstance(target, str) else None
    if accepted is None:
        return
    for name in new:
        if name not in accepted:
            here = f"{key}{ID_SEP_KEY}{name}"
            found = f"{target.rsplit('.', 1)[-1]} has no parameter for {here.replace('::', '#')!r}"
            yield _Problem(here, f"unknown setting: {found}", accepted)
