"""Datalist that collected labels go into, and the dataset that its paths are relative to."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.datalist import datalist_text, load_datalist
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.label_rules import LabelRule, read_labels, recorded_rule
from monai_semiseg.datasets.label_values import ignore_value
from monai_semiseg.datasets.layout import files_of
from monai_semiseg.errors import ConfigError, LabelError
from monai_semiseg.storage.files import write_if_changed

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Target:
    """A datalist without the new labels.

    Attributes:
        root: folder of the dataset.
        content: the datalist.
        rule: how its label files are read.
        labels: number -> name of its labels; empty if none are declared.
        channel_names: of its images.
    """

    root: Path
    content: Mapping[str, Any]
    rule: LabelRule
    labels: Mapping[int, str]
    channel_names: Sequence[str] = ()

    def find(self, image: str | Sequence[str]) -> tuple[str, dict[str, Any]] | None:
        """Return section and entry of an image, relative to the dataset's folder; or None."""
        return self._places.get(tuple(self.paths(image)))

    @cached_property
    def _places(self) -> dict[tuple[Path, ...], tuple[str, dict[str, Any]]]:
        """Return section and entry by the files of the image; those held out weigh most."""
        return {
            tuple(self.paths(entry["image"])): (section, entry)
            for section in ("unlabeled", "training", *HELD_OUT)
            for entry in self.content.get(section, [])
        }

    def fault(self, image: str | Sequence[str], ours: str | list[str] | None) -> LabelError | None:
        """Return why an image may not get a label; None if it may.

        Args:
            image: relative to the dataset's folder.
            ours: label that was collected for it before, as its entry has it; or None.
        """
        place = self.find(image)
        path = self.paths(image)[0]
        if place is None:
            return LabelError(
                "no case of this datalist",
                expected="a task of one of its images",
                remedy="name the datalist or dataset that propose was run on",
                path=path,
            )
        section, entry = place
        if section in HELD_OUT:
            return LabelError(
                f"kept for {section}", expected="a case that may be used for training", path=path
            )
        if "label" in entry and entry["label"] != ours:
            return LabelError(
                f"has the label {entry['label']} already",
                expected="a case without a label; nothing is overwritten",
                remedy="remove the label from the datalist to collect another one",
                path=path,
            )
        return None

    def paths(self, image: str | Sequence[str]) -> list[Path]:
        """Return the absolute paths of an image's files."""
        return [(self.root / name).resolve() for name in files_of(image)]

    def relative(self, files: Sequence[Path]) -> str | list[str]:
        """Return label files as an entry has them, relative to the dataset's folder."""
        names = [
            Path(os.path.relpath(file.resolve(), self.root.resolve())).as_posix() for file in files
        ]
        return names[0] if len(names) == 1 else names

    def ignore_number(self, asked: int) -> int:
        """Return the number for voxels to ignore in its label files.

        Args:
            asked: number that the tasks have for it, if the dataset declares none.

        Raises:
            LabelError: If that number is a label.
        """
        declared = ignore_value(self.labels)
        if declared is not None:
            return declared
        if self.rule.colours:
            return len(self.rule.colour_names)
        if asked in self.labels:
            raise LabelError(
                f"number {asked} is {self.labels[asked]!r}", expected="a number for ignore"
            )
        return asked


def target_of(
    into: Path, dataset: ScanDataset | None, root: Path, labels: Mapping[int, str]
) -> Target:
    """Open what labels are collected into.

    Args:
        into: a datalist; or what ``dataset`` was opened from.
        dataset: its cases with a label train, all others are unlabelled; None for a datalist.
        root: folder that the paths of a datalist are relative to.
        labels: number -> name of the labels of the tasks.

    Raises:
        ConfigError: If the datalist cannot be read, or has other labels than the tasks.
    """
    if dataset is not None:
        entries = [(case.label is not None, case.entry()) for case in dataset.cases]
        record = dataset.label_rule.record()
        content: dict[str, Any] = {
            "name": dataset.name,
            "modality": dataset.modality,
            "labels": {str(index): name for index, name in dataset.labels.items()},
            **({"channel_names": names} if (names := list(dataset.channel_names)) else {}),
            **({"label_rule": record} if record else {}),
            "training": [entry for is_labelled, entry in entries if is_labelled],
            "unlabeled": [entry for is_labelled, entry in entries if not is_labelled],
            "validation": [],
            "test": [],
        }
        root = dataset.root
    else:
        content = load_datalist(into)
    declared, _ = read_labels(content.get("labels") or {}, into)
    require_labels(declared, labels, into)
    rule = recorded_rule(content, into)
    return Target(root, content, rule, declared, content.get("channel_names") or ())


def require_labels(declared: Mapping[int, str], labels: Mapping[int, str], path: Path) -> None:
    """Require that the labels of a model are those of a dataset, where it declares any.

    Args:
        declared: number -> name of the dataset.
        labels: number -> name of the model.
        path: the datalist or dataset, for the error.

    Raises:
        ConfigError: If a number has another name, or none.
    """
    other = [
        f"{value} {name}"
        for value, name in labels.items()
        if declared and value != 0 and declared.get(value, "").casefold() != name.casefold()
    ]
    if other:
        raise ConfigError(
            f"the model's labels are {', '.join(other)}",
            expected=f"those of the dataset: {dict(declared)}",
            remedy="propose with weights that were trained on this dataset",
            path=path,
        )


@dataclass(frozen=True)
class NewLabel:
    """A label that was collected.

    Attributes:
        image: of the case, as its entry has it.
        files: label files.
        values: numbers of the labels in it.
    """

    image: str | list[str]
    files: Sequence[Path]
    values: Sequence[int]


def extended(
    target: Target, found: Sequence[NewLabel], rule: LabelRule, labels: Mapping[int, str]
) -> dict[str, Any]:
    """Return the datalist with new labels among the training cases.

    Args:
        target: without them.
        found: labels, in the order in which they are added.
        rule: how label files are read.
        labels: number -> name, with ``ignore`` if a label has such voxels.
    """
    content = copy.deepcopy(dict(target.content))
    if labels != dict(target.labels):
        content["labels"] = {str(value): name for value, name in sorted(labels.items())}
    if record := rule.record():
        content["label_rule"] = record
    for new in found:
        place = target.find(new.image)
        if place is None:
            continue
        section, entry = place
        labelled = {**entry, "label": target.relative(new.files)}
        if entry == labelled:
            continue
        content[section] = [one for one in content[section] if one != entry]
        content["training"].append(labelled)
        _count(content, new.values)
    if isinstance(content.get("split"), dict):
        count = len(content["training"]) + len(content.get("validation", []))
        content["split"] = {**content["split"], "labelled": count}
    return content


def _count(content: dict[str, Any], values: Sequence[int]) -> None:
    """Add a label to the counts of training scans that show each number, if there are such."""
    if "training" not in content.get("label_scans", {}):
        return
    shown = content["label_scans"]["training"]
    for value in values:
        key = next((one for one in shown if int(one) == value), str(value))
        shown[key] = shown.get(key, 0) + 1


def save_extension(datalist: Mapping[str, Any], output: Path) -> None:
    """Write a datalist, unless it would lose a label of the one that is there.

    Raises:
        ConfigError: If it would.
        OutputError: If the disk is full.
    """
    if output.exists() and not is_extension(load_datalist(output), datalist):
        raise ConfigError(
            "is another datalist, whose labels would be lost",
            expected="a new file, or an earlier form of the same datalist",
            remedy="choose another --output",
            path=output,
        )
    write_if_changed(output, datalist_text(datalist))


def is_extension(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return True if a datalist has all of an older one: the same sections, and no label less."""
    same = all(old.get(name, []) == new.get(name, []) for name in HELD_OUT)
    labelled = [entry for entry in old.get("training", []) if "label" in entry]
    return same and all(entry in new["training"] for entry in labelled)
