"""Data sets on disk: one list of cases, whatever the layout of the folder is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.find_layout import layout_of_file, layout_of_folder
from monai_semiseg.datasets.label_rules import PLAIN, LabelRule
from monai_semiseg.datasets.layout import (
    Files,
    Layout,
    ListedCase,
    Wanted,
    files_of,
    files_text,
    read_wanted,
)
from monai_semiseg.datasets.layout_channels import channel_misfit, channel_names, in_order
from monai_semiseg.datasets.table import read_table, write_cases
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.grid import Grid, Unit
from monai_semiseg.images.scan import read_grid, read_scan
from monai_semiseg.images.volume import Volume


@dataclass(frozen=True)
class DatasetCase:
    """An image and its label map, if any; paths are relative to the dataset's folder.

    Attributes:
        id: unique name.
        image: file, folder of a DICOM series, or several of them: the channels in their order.
        label: label file, several of them that are merged, or None.
        group: patient; cases of one group stay together. Empty if nobody declares one.
    """

    id: str
    image: Files
    label: Files | None = None
    group: str = ""

    def image_paths(self, root: Path) -> list[Path]:
        """Return the file of every channel, or the one file or the slices of the image."""
        return [root / name for name in files_of(self.image)]

    def entry(self) -> dict[str, Any]:
        """Return the entry of a MONAI datalist."""
        entry: dict[str, Any] = {"image": _listed(self.image)}
        if self.label is not None:
            entry["label"] = _listed(self.label)
        if self.group:
            entry["group"] = self.group
        return entry


@dataclass
class ScanDataset:
    """A dataset on disk.

    Attributes:
        root: its folder.
        name: name for tables and files.
        modality: declared modality, such as ``MRI`` or ``CT``; or empty.
        labels: index -> name, background included; empty if not declared.
        cases: cases, sorted by id.
        problems: case or file -> problem of the layout (labels without an image, entries without a
            file, cases without one of the channels).
        sides: whether ``dataset.json`` says that left and right are different classes, or None.
        channel_names: names of the channels, the same for all cases, in order; empty if nobody
            names the only channel.
        spatial_dims: 2 or 3 where it is known, as after a check; else None.
        unit: ``mm`` or ``px`` where it is known, else None.
        label_rule: how the label files are read.
    """

    root: Path
    name: str
    modality: str
    labels: dict[int, str]
    cases: list[DatasetCase]
    problems: dict[str, str] = field(default_factory=dict)
    sides: bool | None = None
    channel_names: tuple[str, ...] = ()
    spatial_dims: int | None = None
    unit: Unit | None = None
    label_rule: LabelRule = PLAIN

    @property
    def stack_pages(self) -> bool:
        """Return whether the pages of a TIFF are the slices of a 3-D scan."""
        return self.label_rule.stack_pages

    def read_image(self, case: DatasetCase) -> Volume:
        """Read the image of a case.

        Raises:
            InputError: If it cannot be read correctly.
        """
        return read_scan(
            case.image_paths(self.root),
            channels=self.channel_names,
            stack_pages=self.stack_pages,
        )

    def read_grid(self, case: DatasetCase) -> Grid:
        """Read the grid of a case's image from its headers alone.

        Raises:
            InputError: If they show that the image cannot be read.
        """
        return read_grid(
            case.image_paths(self.root),
            channels=self.channel_names,
            stack_pages=self.stack_pages,
        )


def open_dataset(
    path: str | Path,
    *,
    channels: str | Sequence[str] | Mapping[str, str] | None = None,
    label: str | None = None,
    group: str | None = None,
    table: str | Path | None = None,
    stack_pages: bool = False,
) -> ScanDataset:
    """Open a dataset: a folder, a table of cases or a single file.

    Layouts, in the order in which they are tried: ``dataset.json`` of the Decathlon (several
    modalities are the channels of one file) or of nnU-Net v1 and v2 (``imagesTs`` is not used), or
    of another layout, which it then only gives ``labels``, ``name`` and ``sides``;
    folders ``images`` and ``labels`` (or ``masks``, ``imagesTr`` and ``labelsTr``) with files of
    the same stem; BIDS; a tree of DICOM series; a folder for each case; masks beside images.

    Channels have the same names in the same order in every case. A case that lacks one, or has one
    that the others do not have, is among the problems and not among the cases.

    Args:
        path: the folder or file.
        channels: names of the channels in their order, ``FLAIR,T1`` or a list. For DICOM,
            ``T1=PATTERN`` is an expression for the description of the series.
        label: name of the label files, or of their folder, where the layout does not say it.
        group: regular expression; its first group, found in the id of a case, is the patient.
        table: table of cases with paths relative to the folder ``path``.
        stack_pages: whether the pages of a TIFF are the slices of a 3-D scan.

    Raises:
        ConfigError: If there is no such folder or layout, or the options do not fit it.
    """
    root = Path(path)
    wanted = read_wanted(channels, label, group)
    if root.is_dir():
        layout = layout_of_folder(root, wanted) if table is None else read_table(Path(table), root)
    elif root.is_file():
        root = root.parent
        layout = layout_of_file(Path(path), wanted)
    else:
        raise ConfigError("no such folder", expected="a dataset folder", path=root)
    found = _dataset(root, layout, wanted)
    rule = replace(found.label_rule, stack_pages=stack_pages)
    return replace(found, label_rule=rule)


def folder_of(path: Path) -> Path:
    """Return the folder that a dataset's paths are relative to: itself, or that of a table."""
    return path.parent if path.is_file() else path


def _dataset(root: Path, layout: Layout, wanted: Wanted) -> ScanDataset:
    cases: dict[str, DatasetCase] = {}
    problems = dict(layout.problems)
    names = channel_names(layout, wanted)
    one_file = all(len(listed.images) == 1 for listed in layout.cases)
    for listed in sorted(layout.cases, key=lambda case: case.id):
        images = in_order(listed, names)
        if fault := channel_misfit(listed, names, wanted, one_file):
            problems[listed.id] = fault
        elif listed.id in cases:
            first = files_of(cases[listed.id].image)[0]
            problems[files_text(images)] = f"the same name as {first}"
        else:
            group = wanted.group_of(listed.id) if wanted.group else listed.group
            cases[listed.id] = DatasetCase(listed.id, images, listed.label, group)
    _require_groups(root, list(cases.values()), wanted)
    return ScanDataset(
        root,
        layout.name or root.resolve().name,
        layout.modality,
        layout.labels,
        list(cases.values()),
        problems,
        layout.sides,
        names,
        label_rule=LabelRule(colours=layout.colours),
    )


def _require_groups(root: Path, cases: Sequence[DatasetCase], wanted: Wanted) -> None:
    if wanted.group and cases and not any(case.group for case in cases):
        raise ConfigError(
            f"--group {wanted.group.pattern!r} finds a patient in no id, such as {cases[0].id}",
            expected="an expression whose first group is the patient",
            path=root,
        )


def case_of(entry: Mapping[str, Any]) -> DatasetCase:
    """Return the case of an entry of a datalist; its id is its image."""
    image, label = (_tuples(entry.get(key)) for key in ("image", "label"))
    if image is None:
        raise ConfigError(f"an entry without an image: {dict(entry)}", expected='{"image": ...}')
    return DatasetCase(files_text(image), image, label, str(entry.get("group", "")))


def _tuples(files: Any) -> Files | None:
    return tuple(map(str, files)) if isinstance(files, list | tuple) else files or None


def _listed(files: Files) -> str | list[str]:
    return files if isinstance(files, str) else list(files)


def by_channel(case: DatasetCase, names: Sequence[str]) -> dict[str, Files]:
    """Return channel -> files of a case; the name is empty for a file that holds all channels.

    Raises:
        ConfigError: If the files are slices of several series, so that they do not say theirs.
    """
    files = files_of(case.image)
    if len(names) < 2 or len(files) == 1:
        return {names[0] if len(names) == 1 and len(files) == 1 else "": case.image}
    if len(files) != len(names):
        raise ConfigError(
            f"{case.id} has {len(names)} channels in {len(files)} files",
            expected="one file or folder for each channel",
            remedy="put every DICOM series into a folder of its own",
        )
    return dict(zip(names, files, strict=True))


def save_table(dataset: ScanDataset, file: str | Path) -> Path:
    """Write the cases of a dataset as a table that :func:`open_dataset` reads.

    Raises:
        ConfigError: If the file exists, or a case cannot stand in a table.
    """
    names = dataset.channel_names
    rows = [
        ListedCase(case.id, by_channel(case, names), case.label, case.group)
        for case in dataset.cases
    ]
    return write_cases(Path(file), dataset.root, rows, names)
