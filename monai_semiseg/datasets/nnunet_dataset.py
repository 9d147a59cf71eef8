"""Channels and labels that ``dataset.json`` of nnU-Net v2 declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.nnunet_files import read_json, refuse_code
from monai_semiseg.errors import ConfigError


@dataclass(frozen=True)
class NnunetDataset:
    """Hold what nnU-Net's ``dataset.json`` declares.

    Attributes:
        channel_names: in the order that the network takes.
        labels: name -> number, or numbers of a region.
        regions_class_order: number that each region is written with; None without regions.
    """

    channel_names: tuple[str, ...]
    labels: Mapping[str, Any]
    regions_class_order: tuple[int, ...] | None = None

    @property
    def label_names(self) -> dict[str, str]:
        """Return number in the masks (text) -> name, in ascending order."""
        named = {name: number for name, number in self.labels.items() if name != "ignore"}
        foreground = [name for name in named if name != "background"]
        numbers = self.regions_class_order or [named[name] for name in foreground]
        pairs = sorted(zip(map(int, numbers), foreground, strict=True))
        return {"0": "background", **{str(number): name for number, name in pairs}}

    @property
    def out_channels(self) -> int:
        """Return the number of the network's outputs; regions have none for the background."""
        return len(self.label_names) - (self.regions_class_order is not None)

    def with_classes(self) -> NnunetDataset:
        """Return the same with one class for each number, as this package trains regions."""
        classes = {name: int(number) for number, name in self.label_names.items()}
        return NnunetDataset(self.channel_names, classes)

    @property
    def as_json(self) -> dict[str, Any]:
        """Return the part of the file that nnU-Net's ``LabelManager`` reads."""
        found: dict[str, Any] = {"labels": dict(self.labels)}
        if self.regions_class_order is not None:
            found["regions_class_order"] = list(self.regions_class_order)
        return found


def read_nnunet_dataset(file: str | Path) -> NnunetDataset:
    """Read the channels and labels of ``dataset.json``.

    Raises:
        ConfigError: If it is none of nnU-Net v2.
    """
    path = Path(file)
    content = read_json(path, "the dataset.json of nnU-Net")
    refuse_code({key: content.get(key) for key in ("channel_names", "modality", "labels")}, path)
    try:
        channels = content["channel_names" if "channel_names" in content else "modality"]
        ordered = sorted(channels.items(), key=lambda pair: int(pair[0]))
        labels = dict(content["labels"])
        is_regional = any(isinstance(value, list) and len(value) > 1 for value in labels.values())
        found = NnunetDataset(
            tuple(str(name) for _, name in ordered),
            labels,
            tuple(int(number) for number in content["regions_class_order"])
            if is_regional
            else None,
        )
        names = found.label_names
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"cannot be read ({type(error).__name__}: {error})",
            expected='"channel_names": {"0": ...} and "labels": {"background": 0, ...}',
            path=path,
        ) from error
    if len(names) < 2:
        raise ConfigError(
            "names no label", expected="at least one label beside the background", path=path
        )
    return found
