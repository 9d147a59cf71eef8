"""A folder of tasks in the making: its cases, and their scans laid out for the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.case_names import file_names
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.staging import StagedImage, stage
from monai_semiseg.labelling.tasks import MANIFEST, PROPOSALS
from monai_semiseg.plain_text import as_json
from monai_semiseg.storage.files import write_atomically

SCANS = ".scans"  # links that the folder run reads; removed at the end
REQUEST = "request.json"


@dataclass
class Proposal:
    """A folder of tasks that is being made.

    Attributes:
        folder: the folder.
        dataset: cases are from it; its labels say which number is ``ignore``.
        images: of the chosen cases.
        format: a key of :data:`~monai_semiseg.labelling.task_formats.FORMATS`.
        most: number of cases to hand out, those whose correction teaches most; None for all.
        layout: options by which the dataset was opened.
        remarks: id -> what the writers had to say.
        failed: id or file -> reason.
    """

    folder: Path
    dataset: ScanDataset
    images: Sequence[StagedImage]
    format: str = "seg.nrrd"
    most: int | None = None
    layout: Mapping[str, Any] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def scans(self) -> Path:
        """Return the folder with the scans to segment."""
        return self.folder / SCANS

    @property
    def masks(self) -> Path:
        """Return the folder of the folder run."""
        return self.folder / PROPOSALS


def begin(
    folder: Path,
    dataset: ScanDataset,
    cases: Sequence[DatasetCase],
    *,
    format: str = "seg.nrrd",
    most: int | None = None,
    layout: Mapping[str, Any] | None = None,
) -> Proposal:
    """Lay out the scans that a folder run is to segment.

    The same request goes on where it was killed.

    Args:
        folder: folder of tasks to make.
        dataset: the dataset.
        cases: cases to segment.
        format: a key of :data:`~monai_semiseg.labelling.task_formats.FORMATS`.
        most: as for :class:`Proposal`.
        layout: likewise.

    Raises:
        ConfigError: If the folder holds tasks or another request, or lies inside the dataset.
    """
    if (folder / MANIFEST).exists():
        raise ConfigError(
            "holds tasks that were handed out", expected="a new folder", path=folder / MANIFEST
        )
    if not cases:
        raise ConfigError(
            "no case to propose a mask for", expected="at least one case", path=dataset.root
        )
    request = {
        "dataset": str(dataset.root.resolve()),
        "cases": [case.id for case in cases],
        "format": format,
        "most": most,
    }
    text = as_json(request) + "\n"
    file = folder / REQUEST
    if file.is_file() and file.read_text(encoding="utf-8", errors="replace") != text:
        raise ConfigError(
            "another propose command was begun here",
            expected="the same command, which resumes it",
            remedy="choose another folder",
            path=file,
        )
    _require_new(folder, dataset.root, begun=file.is_file())
    write_atomically(file, text)
    names = file_names(case.id for case in cases)
    images = [stage(dataset, case, names[case.id]) for case in cases]
    for image in images:
        image.link(folder / SCANS)
    return Proposal(folder, dataset, images, format, most, dict(layout or {}))


def _require_new(folder: Path, dataset: Path, *, begun: bool) -> None:
    """Require a new folder, outside of the dataset; or one that was begun."""
    if folder.resolve().is_relative_to(dataset.resolve()):
        raise ConfigError(
            "lies inside the dataset", expected="a folder outside the dataset", path=folder
        )
    files = folder.iterdir() if folder.exists() else ()
    if not begun and any(not file.name.startswith(".") for file in files):
        raise ConfigError("is not empty", expected="a new folder", path=folder)
