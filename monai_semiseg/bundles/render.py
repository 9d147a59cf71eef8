"""Write the configs of every bundle from one base and one small overlay per bundle.

A MONAI bundle has to be whole on disk, so four bundles hold nearly the same configs. They are
written from ``bundles/_base``: shared parts as JSON and YAML, and ``NAME.yaml`` for each bundle::

    copy: [LICENSE, configs/slices.yaml]    # files that go into the bundle as they are
    configs:
      train.json:
        parts: [common.json, training.json] # merged in this order
        set: {init_weights: null}           # further keys, nested as train/trainer/_target_
        remove: [train/curve]

Parts are merged key by key; lists are replaced, but ``imports`` are put together. In a list,
``{"_steps_": NAME}`` stands for the items of the list NAME in ``_base/steps.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import write_atomically

_STEPS = "_steps_"
_WIDTH = 120  # a node that is shorter on one line stays on one


def render(bundles: Path) -> list[Path]:
    """Write every file that has changed.

    Args:
        bundles: folder that holds ``_base`` and the bundles.

    Returns:
        The files that were written; none if all were as they should be.

    Raises:
        ConfigError: If a part is absent, or a key to be removed is not there.
    """
    written = []
    for path, text in list(rendered(bundles)):  # all of it is sound before anything is written
        if not path.is_file() or path.read_text() != text:
            written.append(write_atomically(path, text))
    return written


def rendered(bundles: Path) -> Iterator[tuple[Path, str]]:
    """Yield every file of every bundle that comes from the base, with its content."""
    base = bundles / "_base"
    file = base / "steps.json"
    steps = json.loads(file.read_text()) if file.is_file() else {}
    for overlay in sorted(base.glob("*.yaml")):
        recipe = yaml.safe_load(overlay.read_text())
        bundle = bundles / overlay.stem
        for name in recipe.get("copy", []):
            yield bundle / name, _read(base / "files" / Path(name).name)
        for name, one in recipe["configs"].items():
            further = with_steps(one.get("set", {}), steps)
            parts = [with_steps(json.loads(_read(base / part)), steps) for part in one["parts"]]
            if "imports" in further:
                parts.append({"imports": further.pop("imports")})
            content = merged(parts)
            for key in one.get("remove", []):
                _remove(content, key, overlay)
            for key, value in further.items():
                _set(content, key, value)
            yield bundle / "configs" / name, f"{as_json(content)}\n"


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge configs key by key, the later one's values winning; ``imports`` are put together."""
    result: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            before = result.get(key)
            if key == "imports" and before is not None:
                result[key] = list(dict.fromkeys([*before, *value]))
            elif isinstance(before, dict) and isinstance(value, dict):
                result[key] = merged([before, value])
            else:
                result[key] = value
    return result


def with_steps(node: Any, steps: Mapping[str, Sequence[Any]]) -> Any:
    """Return content with the items of named lists in place of their names.

    Args:
        node: content of a part.
        steps: lists by name; their items may be such names, too.

    Raises:
        ConfigError: If there is no list of a name.
    """
    if isinstance(node, dict):
        return {key: with_steps(value, steps) for key, value in node.items()}
    if not isinstance(node, list):
        return node
    items: list[Any] = []
    for item in node:
        name = item.get(_STEPS) if isinstance(item, dict) else None
        if name is None:
            items.append(with_steps(item, steps))
        elif name in steps:
            items += with_steps(list(steps[name]), steps)
        else:
            raise ConfigError(f"no steps {name!r}", expected=f"one of {', '.join(steps)}")
    return items


def as_json(node: Any, indent: int = 0) -> str:
    """Return JSON in which whatever is short stands on one line."""
    line = json.dumps(node, ensure_ascii=False)
    short = indent > 0 and len(line) + indent <= _WIDTH
    if short or not node or not isinstance(node, dict | list):
        return line
    inner = " " * (indent + 4)
    if isinstance(node, list):
        rows = [as_json(item, indent + 4) for item in node]
        brackets = "[]"
    else:
        rows = [f"{json.dumps(key)}: {as_json(value, indent + 4)}" for key, value in node.items()]
        brackets = "{}"
    body = ",\n".join(f"{inner}{row}" for row in rows)
    return f"{brackets[0]}\n{body}\n{' ' * indent}{brackets[1]}"


def _read(path: Path) -> str:
    if not path.is_file():
        raise ConfigError("no such part", expected="a file of bundles/_base", path=path)
    return path.read_text()


def _parent(content: Any, key: str) -> tuple[Any, Any]:
    """Return what holds a nested key, and the key's last part as it is used there."""
    *path, last = key.split("/")
    for part in path:
        content = content[int(part)] if isinstance(content, list) else content.setdefault(part, {})
    return content, int(last) if isinstance(content, list) else last


def _set(content: dict[str, Any], key: str, value: Any) -> None:
    holder, last = _parent(content, key)
    holder[last] = value


def _remove(content: dict[str, Any], key: str, overlay: Path) -> None:
    holder, last = _parent(content, key)
    try:
        del holder[last]
    except (KeyError, IndexError) as error:
        raise ConfigError(f"no key {key!r} to remove", path=overlay) from error
