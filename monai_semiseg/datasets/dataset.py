"""A folder of scans and labels: the Medical Segmentation Decathlon's layout, or a plain pair of folders."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.sides import declared_sides
from monai_semiseg.errors import ConfigError

_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"), ("images", "masks"), ("image", "label"))
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")


@dataclass(frozen=True)
class DatasetCase:
    """A scan and, if it has one, its label map; paths relative to the dataset's folder."""

    id: str
    image: str
    label: str | None = None

    def entry(self) -> dict[str, str]:
        """As an entry of a MONAI datalist."""
        return (
            {"image": self.image}
            if self.label is None
            else {"image": self.image, "label": self.label}
        )


@dataclass
class ScanDataset:
    """A dataset on disk.

    Attributes:
        root: its folder.
        name: for tables and files.
        modality: ``MRI``, ``CT``, ... as declared; empty if nothing says.
        labels: index -> name, background included; empty if nothing declares them.
        cases: sorted by id.
        problems: what the layout itself gets wrong (files without a partner, entries without a
            file).
        sides: whether classes are told apart by their side, if ``dataset.json`` says so.
    """

    root: Path
    name: str
    modality: str
    labels: dict[int, str]
    cases: list[DatasetCase]
    problems: list[str] = field(default_factory=list)
    sides: bool | None = None


def open_dataset(path: str | Path) -> ScanDataset:
    """Open a dataset folder.

    Layouts: ``dataset.json`` with ``training`` entries (those without ``label`` are unlabelled), or
        ``imagesTr`` and
    ``labelsTr`` (also ``images`` and ``labels``) with files of the same stem.

    Raises:
        ConfigError: If there is no such folder or layout.
    """
    root = Path(path)
    if not root.is_dir():
        raise ConfigError("no such folder", expected="a dataset folder", path=root)
    if (root / "dataset.json").is_file():
        return _from_json(root)
    for images, labels in _FOLDERS:
        if (root / images).is_dir():
            return _from_folders(root, images, labels)
    raise ConfigError(
        "no dataset.json, and no imagesTr or images folder",
        expected="the Decathlon layout, or folders images and labels",
        remedy="arrange the scans as images/NAME.nii.gz and labels/NAME.nii.gz",
        path=root,
    )


def case_stem(name: str) -> str:
    """File name without its scan suffix (``a.nii.gz`` -> ``a``)."""
    lower = name.lower()
    return next((name[: -len(suffix)] for suffix in _SUFFIXES if lower.endswith(suffix)), name)


def _from_json(root: Path) -> ScanDataset:
    file = root / "dataset.json"
    try:
        description: dict[str, Any] = json.loads(file.read_text())
        training = [
            {"image": entry} if isinstance(entry, str) else dict(entry)
            for entry in description["training"]
        ]
        labels = {int(index): str(name) for index, name in description.get("labels", {}).items()}
        pairs = [(str(entry["image"]), entry.get("label")) for entry in training]
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise ConfigError(
            f"not a Decathlon description ({type(error).__name__}: {error})",
            expected='"training": [{"image": ..., "label": ...}, ...] and "labels": {"0": "background", ...}',
            path=file,
        ) from error
    problems = [
        f"{name}: listed in dataset.json, not there"
        for pair in pairs
        for name in pair
        if name and not (root / name).exists()
    ]
    modality = description.get("modality", "")
    text = modality if isinstance(modality, str) else ", ".join(map(str, dict(modality).values()))
    cases, doubles = _cases(
        (_clean(image), _clean(label) if label else None) for image, label in pairs
    )
    sides = declared_sides(description, file)
    return ScanDataset(
        root,
        str(description.get("name", root.name)),
        text,
        labels,
        cases,
        problems + doubles,
        sides,
    )


def _clean(name: str) -> str:
    return Path(name).as_posix()


def _from_folders(root: Path, images: str, labels: str) -> ScanDataset:
    label_of = (
        {case_stem(f.name): f for f in _entries(root / labels)} if (root / labels).is_dir() else {}
    )
    pairs, used = [], set()
    for image in _entries(root / images):
        stem = case_stem(image.name)
        stem = stem if stem in label_of else stem.removesuffix("_0000")  # nnU-Net's channel suffix
        label = label_of.get(stem)
        used.add(stem)
        pairs.append(
            (
                image.relative_to(root).as_posix(),
                label.relative_to(root).as_posix() if label else None,
            )
        )
    problems = [
        f"{file.relative_to(root)}: a label without an image"
        for stem, file in label_of.items()
        if stem not in used
    ]
    cases, doubles = _cases(pairs)
    return ScanDataset(root, root.resolve().name, "", {}, cases, problems + doubles)


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _cases(pairs: Iterable[tuple[str, str | None]]) -> tuple[list[DatasetCase], list[str]]:
    cases: dict[str, DatasetCase] = {}
    problems = []
    for image, label in pairs:
        case_id = case_stem(Path(image).name)
        if case_id in cases:
            problems.append(f"{image}: the same name as {cases[case_id].image}")
            continue
        cases[case_id] = DatasetCase(case_id, image, label)
    return sorted(cases.values(), key=lambda case: case.id), problems
