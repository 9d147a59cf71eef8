"""Dataset folders: the layouts of the Decathlon and of nnU-Net, or a folder pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from monai_semiseg.datasets.case_names import without_suffix
from monai_semiseg.datasets.channels import channel_fault, channel_groups, patient_of
from monai_semiseg.datasets.description import Description, Pair, read_description
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.formats import picture_kind
from monai_semiseg.plain_text import printable

_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"), ("images", "masks"), ("image", "label"))


@dataclass(frozen=True)
class DatasetCase:
    """A scan and its label map, if any; paths are relative to the dataset's folder."""

    id: str
    image: str
    label: str | None = None

    def image_paths(self, root: Path) -> list[Path]:
        """Return the file of every channel, or the one file of the image."""
        names = [self.image] if isinstance(self.image, str) else self.image
        return [root / name for name in names]

    def entry(self) -> dict[str, str]:
        """Return the entry of a MONAI datalist."""
        if self.label is None:
            return {"image": self.image}
        return {"image": self.image, "label": self.label}


@dataclass
class ScanDataset:
    """A dataset on disk.

    Attributes:
        root: its folder.
        name: name for tables and files.
        modality: declared modality, such as ``MRI`` or ``CT``; or empty.
        labels: index -> name, background included; empty if not declared.
        cases: cases, sorted by id.
        problems: file -> problem of the layout (labels without an image, entries without a file,
            files that are not cases).
        sides: whether ``dataset.json`` says that left and right are different classes, or None.
        channel_names: names of the channels; empty if the layout does not say.
    """

    root: Path
    name: str
    modality: str
    labels: dict[int, str]
    cases: list[DatasetCase]
    problems: dict[str, str] = field(default_factory=dict)
    sides: bool | None = None
    channel_names: tuple[str, ...] = ()


@dataclass
class _Layout:
    """Pairs of scan and label, files with problems, and files that are not supported yet."""

    pairs: list[Pair] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    patients: int = 0  # number of patients with several channels


def open_dataset(path: str | Path) -> ScanDataset:
    """Open a dataset folder.

    Layouts: ``dataset.json`` of the Decathlon (entries of ``training`` without ``label`` are
    unlabelled) or of nnU-Net v2 (one channel; ``imagesTs`` is not used), or ``imagesTr`` and
    ``labelsTr`` (also ``images`` and ``labels``) with files of the same stem.

    Files of several channels and 2-D pictures are not read yet. They are problems if there are
    other scans; a folder of them is refused.

    Raises:
        ConfigError: If there is no such folder or layout, or half of its cases cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        raise ConfigError("no such folder", expected="a dataset folder", path=root)
    if (root / "dataset.json").is_file():
        return _from_json(root)
    for images, labels in _FOLDERS:
        if (root / images).is_dir():
            return _dataset(root, _pairs(root, images, labels), Description())
    raise ConfigError(
        "no dataset.json, and no imagesTr or images folder",
        expected="the layout of the Decathlon or of nnU-Net, or folders images and labels",
        remedy="arrange the scans as images/NAME.nii.gz and labels/NAME.nii.gz",
        path=root,
    )


def case_stem(name: str) -> str:
    """Return a file name without its scan suffix (``a.nii.gz`` -> ``a``), printable."""
    return printable(without_suffix(Path(name)).name)


def _from_json(root: Path) -> ScanDataset:
    description = read_description(root)
    pairs = description.pairs
    layout = _Layout(pairs) if pairs is not None else _pairs(root, *_FOLDERS[0])
    for name in chain.from_iterable(layout.pairs):
        if name and not (root / name).exists():
            layout.problems[name] = "listed in dataset.json, but does not exist"
    _note_shared_labels(layout)
    labelled = sum(label is not None for _, label in layout.pairs)
    if description.labelled is not None and description.labelled != labelled:
        found = f"numTraining is {description.labelled}, {labelled} scans have a label"
        layout.problems["dataset.json"] = found
    return _dataset(root, layout, description)


def _note_shared_labels(layout: _Layout) -> None:
    """Note images that are listed with one label: contrasts that a split would separate."""
    images: dict[str, set[str]] = {}
    for image, label in layout.pairs:
        if label is not None:
            images.setdefault(label, set()).add(image)
    for label, several in images.items():
        if len(several) > 1:
            layout.patients += 1
            names = [Path(name).name for name in several]
            fault = channel_fault(case_stem(Path(label).name), names)
            layout.unread |= dict.fromkeys(several, fault)


def _dataset(root: Path, layout: _Layout, description: Description) -> ScanDataset:
    cases: dict[str, DatasetCase] = {}
    problems = dict(layout.problems)
    unread = dict(layout.unread)
    for image, label in layout.pairs:
        case_id = case_stem(Path(image).name)
        if image in unread:
            continue
        if picture := _picture(root / image):
            unread[image] = f"a {picture} picture (2-D)"
        elif case_id in cases:
            problems[image] = f"the same name as {cases[case_id].image}"
        else:
            cases[case_id] = DatasetCase(case_id, image, label)
    if unread and layout.patients + len(unread) - len(layout.unread) >= len(cases):
        _refuse(root, unread)
    problems |= {file: f"{kind}; not read yet" for file, kind in unread.items()}
    order = sorted(cases.values(), key=lambda case: case.id)
    return ScanDataset(
        root,
        description.name or root.resolve().name,
        description.modality,
        description.labels,
        order,
        problems,
        description.sides,
    )


def _refuse(root: Path, unread: Mapping[str, str]) -> None:
    """Refuse a folder with mostly channels or pictures."""
    kinds = Counter(" of ".join(text.split(" of ")[:2]) for text in unread.values()).most_common(4)
    first, text = next(iter(sorted(unread.items())))
    counts = ", ".join(f"{count} x {kind}" for kind, count in kinds)
    raise ConfigError(
        f"files that are not read yet: {counts}; the first is {first}, {text}",
        expected="one 3-D scan per case: NIfTI, NRRD, MetaImage or DICOM",
        remedy="if there are several channels, keep one file per case",
        path=root,
    )


def _picture(path: Path) -> str:
    return picture_kind(path) if path.is_file() else ""


def _pairs(root: Path, images: str, labels: str) -> _Layout:
    """Pair the files of two folders by name."""
    label_of = {without_suffix(file).name: file for file in _entries(root / labels)}
    scans = _entries(root / images)
    names = [without_suffix(scan).name for scan in scans]
    groups = channel_groups(names, label_of.keys())
    group_of: dict[str, str] = {}
    for stem, channels in groups.items():
        group_of.update(dict.fromkeys(channels.values(), stem))
    layout = _Layout(patients=len(groups))
    used = set()
    for scan, stem in zip(scans, names, strict=True):
        name = scan.relative_to(root).as_posix()
        patient = group_of.get(stem)
        if patient is not None:
            layout.unread[name] = channel_fault(patient, groups[patient])
            used.add(patient)
            continue
        if stem not in label_of:
            stem = patient_of(stem)  # case_0000 and case_FLAIR belong to the label case
        used.add(stem)
        label = label_of.get(stem)
        layout.pairs.append((name, label.relative_to(root).as_posix() if label else None))
    for stem in sorted(label_of.keys() - used):
        layout.problems[label_of[stem].relative_to(root).as_posix()] = "a label without an image"
    return layout


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
