"""Files of chosen cases under the names of their tasks: links for the network, copies to send."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_semiseg.datasets.case_channels import channel_of_name
from monai_semiseg.datasets.case_names import file_names, stem_of
from monai_semiseg.datasets.convert_files import link
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset, by_channel
from monai_semiseg.datasets.layout import files_of
from monai_semiseg.images.detached import DETACHED
from monai_semiseg.images.dicom_header import begins_as_dicom
from monai_semiseg.labelling.tasks import files_of_image
from monai_semiseg.storage.files import atomic_path


@dataclass(frozen=True)
class StagedImage:
    """An image of the dataset and its place in a folder of its own.

    Attributes:
        case: of the dataset.
        name: of the folder.
        parts: for each channel, or for the one image, its files -> their paths in the folder.
    """

    case: DatasetCase
    name: str
    parts: Sequence[dict[Path, Path]]

    def link(self, root: Path) -> None:
        """Link the files below ``root``, where the folder run finds them."""
        for part in self.parts:
            for source, place in part.items():
                if not (root / place).exists():
                    link(source, root / place)

    def copy(self, root: Path) -> list[Path]:
        """Copy the files below ``root``, for other programs and other people; return them."""
        copies = []
        for part in self.parts:
            for source, place in part.items():
                copies.append(root / place)
                with atomic_path(root / place) as target:
                    shutil.copyfile(source, target)
        return copies

    def sources(self) -> list[Path]:
        """Return the files of the dataset."""
        return [source for part in self.parts for source in part]


def stage(dataset: ScanDataset, case: DatasetCase, name: str) -> StagedImage:
    """Find the files of an image, and name them so that a folder run takes them for one case.

    Several channels in files of their own are named after them (``NAME_FLAIR``), so that who labels
    knows what he sees. A DICOM series is a folder ``NAME/NAME``.

    Args:
        dataset: the dataset.
        case: one of its cases.
        name: of the task.

    Raises:
        ConfigError: If the files do not say which channel they are.
    """
    channels = list(by_channel(case, dataset.channel_names).values())
    stems = [name] if len(channels) == 1 else _named_after(dataset.channel_names, name)
    parts = []
    for stem, files in zip(stems, channels, strict=True):
        found = files_of_image([dataset.root / file for file in files_of(files)])
        parts.append(_placed(found, Path(name), stem))
    return StagedImage(case, name, parts)


def _named_after(channels: Sequence[str], name: str) -> list[str]:
    """Return a file name for each channel; nnU-Net's numbers where names would be misread."""
    spoken = [f"{name}_{channel}" for channel in channels]
    told = [channel_of_name(stem, channels) for stem in spoken]
    clear = told == [(name, number) for number in range(len(channels))]
    if clear and list(file_names(spoken).values()) == spoken:
        return spoken
    return [f"{name}_{number:04}" for number in range(len(channels))]


def _placed(files: Sequence[Path], folder: Path, stem: str) -> dict[Path, Path]:
    """Return file -> its path below the folder of its task."""
    if begins_as_dicom(files[0]):
        names = [f"{number:04}.dcm" for number in range(1, len(files) + 1)]
        return {file: folder / stem / name for file, name in zip(files, names, strict=True)}
    if any(file.suffix.lower() in DETACHED for file in files):  # the header names its other file
        return {file: folder / file.name for file in files}
    return {file: folder / f"{stem}{file.name[len(stem_of(file)) :]}" for file in files}
