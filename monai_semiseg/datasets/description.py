"""Reading of ``dataset.json`` of the Decathlon, of nnU-Net v1 and of nnU-Net v2."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from monai_semiseg.datasets.case_names import without_suffix
from monai_semiseg.datasets.channels import MAX_CHANNELS
from monai_semiseg.datasets.label_rules import read_labels
from monai_semiseg.datasets.sides import declared_sides
from monai_semiseg.errors import ConfigError

Pair = tuple[str, str | None]


@dataclass
class Description:
    """The content of a ``dataset.json``.

    Attributes:
        name: name of the dataset, or empty.
        modality: ``MRI``, ``CT``, ..., or empty.
        labels: index -> name, or empty.
        pairs: scan and label (or None), relative to the dataset's folder. None if the files of the
            folders ``imagesTr`` and ``labelsTr`` are paired by name.
        labelled: declared number of labelled scans, or None.
        sides: whether left and right are different classes, or None.
        colours: label -> ``#rrggbb``, or empty.
    """

    name: str = ""
    modality: str = ""
    labels: dict[int, str] = field(default_factory=dict)
    pairs: list[Pair] | None = None
    labelled: int | None = None
    sides: bool | None = None
    colours: dict[str, str] = field(default_factory=dict)


def read_description(root: Path) -> Description:
    """Read ``dataset.json`` in a dataset's folder.

    Raises:
        ConfigError: If the format is unknown, or not supported yet (several channels, region
            labels).
    """
    file = root / "dataset.json"
    try:
        # File names may have bytes that are not UTF-8; they are kept.
        content: dict[str, Any] = json.loads(
            file.read_bytes().decode("utf-8-sig", "surrogateescape")
        )
        read = _nnunet_v2 if "channel_names" in content else _decathlon
        description = read(content, root)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"not a Decathlon or nnU-Net description ({type(error).__name__}: {error})",
            expected='"training": [{"image": ..., "label": ...}, ...] and '
            '"labels": {"0": "background", ...}',
            path=file,
        ) from error
    description.sides = declared_sides(content, file)
    return description


def _decathlon(content: dict[str, Any], root: Path) -> Description:
    training = [
        {"image": entry} if isinstance(entry, str) else dict(entry) for entry in content["training"]
    ]
    labels, colours = read_labels(dict(content.get("labels", {})), root / "dataset.json")
    modality = content.get("modality", "")
    text = modality if isinstance(modality, str) else ", ".join(map(str, dict(modality).values()))
    pairs = [
        (
            _image_on_disk(root, _on_disk(root, str(_only(entry["image"], root)))),
            _on_disk(root, str(entry["label"])) if entry.get("label") else None,
        )
        for entry in training
    ]
    return Description(str(content.get("name", "")), text, labels, pairs, colours=colours)


def _nnunet_v2(content: dict[str, Any], root: Path) -> Description:
    channels = [str(name) for name in dict(content["channel_names"]).values()]
    if len(channels) != 1:
        raise ConfigError(
            f"{len(channels)} channels ({', '.join(channels)})",
            expected="one channel; several are not read yet",
            path=root / "dataset.json",
        )
    pairs = None
    if "dataset" in content:  # nnU-Net's list of files outside of its folders
        entries = list(dict(content["dataset"]).values())
        pairs = [
            (
                _on_disk(root, str(_only(entry["images"], root))),
                _on_disk(root, str(entry["label"])) if entry.get("label") else None,
            )
            for entry in entries
        ]
    labels, colours = _numbered(dict(content["labels"]), root)
    return Description(
        str(content.get("name", "")),
        channels[0],
        labels,
        pairs,
        int(content["numTraining"]) if "numTraining" in content else None,
        colours=colours,
    )


def _only(images: Any, root: Path) -> Any:
    """The one image of a case; MONAI and nnU-Net list the files of several channels.

    Raises:
        ConfigError: If there are more, or none.
    """
    if not isinstance(images, list | tuple):
        return images
    if len(images) != 1:
        raise ConfigError(
            f"{len(images)} images in one case ({', '.join(map(str, images))})",
            expected="one channel; several are not read yet",
            path=root / "dataset.json",
        )
    return images[0]


def _numbered(labels: Mapping[str, Any], root: Path) -> tuple[dict[int, str], dict[str, str]]:
    """Convert nnU-Net's name -> number to number -> name, and name -> colour."""
    regions = [name for name, number in labels.items() if isinstance(number, list | tuple)]
    if regions:
        raise ConfigError(
            f"region labels ({', '.join(regions)})",
            expected="one number for each label",
            remedy="write label maps with one number per structure, and name them in labels",
            path=root / "dataset.json",
        )
    return read_labels(labels, root / "dataset.json")


def _on_disk(root: Path, name: str) -> str:
    """Return a listed file as a relative path, also if its separators are backslashes.

    Raises:
        ConfigError: If it begins with a Windows drive.
    """
    if (root / name).exists():
        return Path(name).as_posix()
    if re.match(r"[A-Za-z]:[\\/]|\\\\", name):
        raise ConfigError(
            f"a path on a Windows drive ({name})",
            expected="paths relative to the folder of dataset.json",
            remedy="remove the part before imagesTr and labelsTr",
            path=root / "dataset.json",
        )
    return PureWindowsPath(name).as_posix()


def _image_on_disk(root: Path, name: str) -> str:
    """Return the name of a scan on disk; nnU-Net v1 lists it without the channel number.

    Raises:
        ConfigError: If it has several channels.
    """
    path = Path(name)
    if (root / path).exists():
        return name
    stem = without_suffix(path).name
    ending = path.name[len(stem) :]
    numbered = [path.with_name(f"{stem}_{n:04}{ending}") for n in range(MAX_CHANNELS)]
    existing = [file for file in numbered if (root / file).exists()]
    if len(existing) > 1:
        raise ConfigError(
            f"{len(existing)} channels ({', '.join(file.name for file in existing)})",
            expected="one channel; several are not read yet",
            path=root / "dataset.json",
        )
    return existing[0].as_posix() if existing == numbered[:1] else name
