"""Record of the settings that weights were trained with, stored beside them as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ReferenceResolver
from monai.bundle.utils import EXPR_KEY, ID_REF_KEY, ID_SEP_KEY

from monai_semiseg.bundles.keys import TRACKING, references
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import write_atomically

FORMAT = "monai_semiseg trained with, 1"
# The masks of a network depend on these keys of a config, and on all that they refer to.
_SEEN_BY_THE_NETWORK = (
    "preprocessing",
    "network_def",
    "postprocessing",
    "label_names",
    "patch_size",
    "orientation",
)
# Settings that do not change the learned weights: devices, paths, and output of a training.
_FREE = {
    *("imports", "initialize", "run", "finalize", "_meta_", "_desc_"),
    *("bundle_root", "datalist", "folder", "log_dir", "resume", "resume_anyway", "init_weights"),
    *("device", "device_ids", "backend", "rank", "world_size", "write", "compiled"),
    *("autocast_dtype", "amp", "num_workers", "cache_rate", "progress", "val_interval", "handlers"),
}
_FREE_ENDINGS = ("_dir", "_path", "_weights")
_SECTIONS = ("train", "validate")
_ABSENT = "absent"


def is_free(key: str) -> bool:
    """Return whether a setting may differ between two runs of one training.

    Such settings are devices, paths, workers and tracking.

    Args:
        key: id in a config; it is free if any part of it is.
    """
    parts = ReferenceResolver.split_id(key)
    free = any(part in _FREE or part.endswith(_FREE_ENDINGS) for part in parts)
    return free or parts[0] in TRACKING


def settings_of(parser: ConfigParser, keys: Collection[str] | None = None) -> dict[str, Any]:
    """Return settings of a workflow as plain values.

    References are followed, expressions of plain values evaluated, components kept as text.

    Args:
        parser: of the workflow.
        keys: top-level keys of its config; by default all but those that are free, that only wire
            components together, or that are sections of them. A key ``orientation`` stands for the
            axis codes of its transforms.
    """
    config = parser.get()
    chosen = [*config, "orientation"] if keys is None else keys
    found: dict[str, Any] = {}
    for key in chosen:
        value = config.get(key)
        if key == "orientation":
            found[key] = sorted(set(_orientations(config)))
        elif key in config and not (is_free(key) or key in _SECTIONS or _is_wiring(value, parser)):
            found[key] = _plain(value, parser, key)
    return found


def write_record(path: str | Path, settings: dict[str, Any], bundle: str) -> None:
    """Write the settings of a training beside its weights, atomically.

    Args:
        path: of the weights; the record has the same name with ``.json``.
        settings: as :func:`settings_of` returns them.
        bundle: name of the bundle.
    """
    content = {"format": FORMAT, "bundle": bundle, "settings": settings}
    write_atomically(Path(path).with_suffix(".json"), json.dumps(content, indent=1) + "\n")


def read_record(path: str | Path) -> dict[str, Any] | None:
    """Return what :func:`write_record` wrote beside weights, or None if there is no such record.

    Raises:
        ConfigError: If it is damaged.
    """
    file = Path(path).with_suffix(".json")
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(
            f"is damaged ({error})",
            expected="the settings of the weights beside it, as JSON",
            remedy="copy the file again; without it, settings are not compared",
            path=file,
        ) from error
    ours = isinstance(content, dict) and content.get("format") == FORMAT
    return content if ours else None


def refuse_other_settings(parser: ConfigParser, weights: str | Path) -> None:
    """Require that a workflow uses weights with the settings of their training.

    Compared are all settings of the record beside the weights on which the config's preprocessing,
    network, postprocessing, names and patch depend.

    Raises:
        ConfigError: With the settings that differ.
    """
    record = read_record(weights)
    if record is None:
        return
    trained: dict[str, Any] = record["settings"]
    keys = sorted(_depended_on(parser.get()) & trained.keys())
    now = settings_of(parser, keys)
    changed = differences(leaves({key: trained[key] for key in now}), leaves(now))
    if changed:
        raise ConfigError(
            f"the weights were trained with other settings: {changed}",
            expected="the preprocessing and network of the training",
            remedy="pass the --plan and settings of the training, which are in "
            f"{Path(weights).with_suffix('.json')}",
            path=weights,
        )


def leaves(
    node: Any, key: str = "", *, leave_out: Callable[[str], bool] = lambda key: False
) -> dict[str, Any]:
    """Return the values of nested content by id.

    A list of plain values is one value; DistributedDataParallel is replaced by the network inside.

    Args:
        node: content of a config.
        key: id of the node.
        leave_out: whether an id and all below it are left out.
    """
    if isinstance(node, dict) and str(node.get("_target_")).endswith("DistributedDataParallel"):
        node = node.get("module")
    if key and leave_out(key):
        return {}
    if isinstance(node, dict):
        below = {f"{key}{ID_SEP_KEY}{k}" if key else str(k): value for k, value in node.items()}
    elif isinstance(node, list) and any(isinstance(item, dict | list) for item in node):
        below = {f"{key}{ID_SEP_KEY}{number}": value for number, value in enumerate(node)}
    else:
        plain = node is None or isinstance(node, str | int | float | bool | list)
        return {key: node if plain else f"a {type(node).__name__}"}
    found: dict[str, Any] = {}
    for name, value in below.items():
        found |= leaves(value, name, leave_out=leave_out)
    return found


def differences(was: dict[str, Any], now: dict[str, Any], limit: int = 5) -> str:
    """Describe the differences of two contents in words, top-level keys first; empty if none.

    A nested key with the same two values as a key already named is omitted.

    Args:
        was: values by id.
        now: values to compare, by id.
        limit: maximum number of differences.
    """
    changes: dict[str, str] = {}
    for name in sorted({**was, **now}, key=lambda name: ID_SEP_KEY in name):
        change = f"was {_short(was, name)}, now {_short(now, name)}"
        differs = was.get(name, _ABSENT) != now.get(name, _ABSENT)
        if differs and not (ID_SEP_KEY in name and change in changes.values()):
            changes[name.replace(ID_SEP_KEY, "#")] = change
    words = [f"{name} {change}" for name, change in changes.items()]
    more = [f"and {len(words) - limit} more"] if len(words) > limit else []
    return "; ".join(words[:limit] + more)


def _short(values: dict[str, Any], name: str) -> str:
    """Shorten a value to at most 60 characters."""
    value = values.get(name, _ABSENT)
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-15:]}"


def _depended_on(config: dict[str, Any]) -> set[str]:
    """Return the top-level keys that the masks depend on, directly or indirectly."""
    found: set[str] = set()
    waiting = set(_SEEN_BY_THE_NETWORK)
    while waiting:
        key = waiting.pop()
        found.add(key)
        waiting |= {ref.split(ID_SEP_KEY)[0] for ref in references(config.get(key))} - found
    return found


def _is_wiring(value: Any, parser: ConfigParser) -> bool:
    """Return whether a text creates or passes on objects."""
    return isinstance(value, str) and not _is_plain_text(value, parser, set())


def _is_plain_text(node: Any, parser: ConfigParser, seen: set[str]) -> bool:
    """Return whether all its references are plain data."""
    if isinstance(node, dict | list):
        values = node.values() if isinstance(node, dict) else node
        return "_target_" not in node and all(_is_plain_text(v, parser, seen) for v in values)
    refs = set(references(node)) - seen
    seen |= refs
    return all(_is_plain_text(parser.get(ref), parser, seen) for ref in refs)


def _plain(node: Any, parser: ConfigParser, key: str | None = None) -> Any:
    """Convert a node of a config to plain data.

    Only a whole setting (``key``) is evaluated; parts of a component stay text.
    """
    if isinstance(node, dict):
        return {name: _plain(value, parser) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(value, parser) for value in node]
    if isinstance(node, str) and _is_plain_text(node, parser, set()):
        if node.startswith(ID_REF_KEY):
            node = parser.get_parsed_content(node.removeprefix(ID_REF_KEY))
        elif node.startswith(EXPR_KEY) and key is not None:
            node = parser.get_parsed_content(key)
    try:
        json.dumps(node)
    except TypeError:
        return str(node)
    return node


def _orientations(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if str(node.get("_target_", "")).rsplit(".", 1)[-1] == "Orientationd":
            yield str(node.get("axcodes"))
        for value in node.values():
            yield from _orientations(value)
    elif isinstance(node, list):
        for value in node:
            yield from _orientations(value)
