"""Datalists: who is labelled, who validates, who tests, as MONAI's decathlon form has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.label_values import label_numbers
from monai_semiseg.datasets.layout import files_of
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import write_atomically

SECTIONS = ("training", "unlabeled", "validation", "test")


def write_datalist(datalist: dict[str, Any], path: Path) -> Path:
    """Write a datalist as indented JSON, equal bytes for equal splits, and return its path."""
    return write_atomically(path, datalist_text(datalist))


def datalist_text(datalist: Mapping[str, Any]) -> str:
    """Return a datalist as the text of its file."""
    return json.dumps(datalist, indent=1, ensure_ascii=False) + "\n"


def load_datalist(path: str | Path) -> dict[str, Any]:
    """Read a whole datalist, with its paths unchanged.

    Raises:
        ConfigError: If there is no such file, or it is not a datalist.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(
            "no datalist found",
            expected="a datalist with the labelled scans",
            remedy=f"monai-semiseg split DATASET --labelled 20 --output {file}",
            path=file,
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"no JSON ({error})", expected="a MONAI decathlon datalist", path=file
        ) from error
    if not isinstance(content, dict) or "training" not in content:
        raise ConfigError("no section training", expected="a MONAI decathlon datalist", path=file)
    return content


def declared_labels(datalist: Mapping[str, Any]) -> dict[int, str]:
    """Return the declared labels of a datalist, number in the label files -> name; or empty.

    Raises:
        ConfigError: If they cannot be read.
    """
    return label_numbers(datalist.get("labels") or {})


def read_datalist(
    path: str | Path,
    dataset_dir: str | Path,
    section: str,
    *,
    some_absent: bool = False,
    channel_names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Read one section of a datalist with absolute paths, for the bundles' configs.

    An image of several files (channels) is a list of paths. The group is left out, because it is no
    path.

    Args:
        path: a datalist of ``monai-semiseg split``, or any MONAI decathlon datalist.
        dataset_dir: the folder that the datalist's paths are relative to.
        section: ``training``, ``unlabeled``, ``validation`` or ``test``.
        some_absent: True if some of the scans may be absent, which the caller then reports.
        channel_names: channels of the network, in its order.

    Raises:
        ConfigError: If the file, the section or a scan does not exist, or the datalist has the
            channels in another order.
    """
    content = load_datalist(path)
    _require_order(content.get("channel_names") or (), channel_names, Path(path))
    if section not in content:
        known = ", ".join(key for key, value in content.items() if isinstance(value, list))
        raise ConfigError(
            f"no section {section!r}; it has {known}", expected=f"{section!r}", path=Path(path)
        )
    root = Path(dataset_dir)
    entries = [
        {key: _absolute(root, files) for key, files in entry.items() if key != "group"}
        for entry in content[section]
    ]
    absent: list[str] = []
    complete = 0  # entries whose files all exist
    for entry in entries:
        names = [name for files in entry.values() for name in files_of(files)]
        missing = [name for name in names if not Path(name).exists()]
        absent += missing
        complete += not missing
    if absent and not (some_absent and complete):
        raise ConfigError(
            f"{len(absent)} scans of section {section!r} are not there, the first is {absent[0]}",
            expected="paths relative to dataset_dir",
            remedy="set --dataset_dir to the folder that was split",
            path=Path(path),
        )
    return entries


def _require_order(found: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Refuse the network's channels in another order; other names are for the reader to count."""
    if list(found) != list(wanted) and sorted(found) == sorted(wanted):
        raise ConfigError(
            f"channels {', '.join(found)}",
            expected=f"{', '.join(wanted)}: the order that the network takes",
            remedy=f"split with --channels {','.join(wanted)}",
            path=path,
        )


def _absolute(root: Path, files: Any) -> str | list[str]:
    if isinstance(files, list | tuple):
        return [str(root / name) for name in files]
    return str(root / files)


def read_labelled(
    path: str | Path,
    dataset_dir: str | Path,
    measured: str = "test",
    *,
    channel_names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Read all labelled scans of the budget, for training and for validation.

    Args:
        path: as in :func:`read_datalist`.
        dataset_dir: as in :func:`read_datalist`.
        measured: section to leave out, because results are measured on it.
        channel_names: as in :func:`read_datalist`.

    Raises:
        ConfigError: If the file or a scan does not exist, or no labelled scan is left.
    """
    content = load_datalist(path)
    found: list[dict[str, Any]] = []
    for section in ("training", "validation"):
        if section in content and section != measured:
            entries = read_datalist(path, dataset_dir, section, channel_names=channel_names)
            found += [entry for entry in entries if "label" in entry]
    if not found:
        raise ConfigError(
            "no labelled scan",
            expected="entries with a label under training or validation",
            path=Path(path),
        )
    return found


def read_images(
    path: str | Path,
    dataset_dir: str | Path,
    sections: Sequence[str] = ("training", "unlabeled"),
    *,
    channel_names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Read the images of several sections of a datalist, for training without labels.

    Args:
        path: as in :func:`read_datalist`; no entry needs a label.
        dataset_dir: as in :func:`read_datalist`.
        sections: sections to read, by default all but validation and test; absent ones are skipped.
        channel_names: as in :func:`read_datalist`.

    Raises:
        ConfigError: If the file or a scan does not exist, or there is no image.
    """
    content = load_datalist(path)
    images: list[dict[str, Any]] = []
    for section in sections:
        if section in content:
            entries = read_datalist(path, dataset_dir, section, channel_names=channel_names)
            images += [{"image": entry["image"]} for entry in entries]
    if not images:
        raise ConfigError(
            "no image", expected=f"entries under {' or '.join(sections)}", path=Path(path)
        )
    return images
