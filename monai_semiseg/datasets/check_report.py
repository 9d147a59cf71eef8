"""Report of a dataset check: facts about every case, and findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.label_sections import scans_per_label
from monai_semiseg.datasets.label_values import class_names, ignore_value, names_of
from monai_semiseg.datasets.layout import files_text
from monai_semiseg.errors import SemisegError
from monai_semiseg.images.grid import Unit


@dataclass(frozen=True)
class Finding:
    """A problem (``error``) or something to look at (``warning``)."""

    level: Literal["error", "warning"]
    code: str
    case: str
    message: str


@dataclass
class CaseFacts:
    """Facts about a case from one reading.

    ``labels`` is number -> voxels without those to ignore, which are counted in ``ignored``.
    """

    case: DatasetCase
    findings: list[Finding] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    size: NDArray[np.float64] | None = None
    modality: str = ""
    labels: dict[int, int] = field(default_factory=dict)
    palette: dict[int, str] = field(default_factory=dict)
    ignored: int = 0
    pixel_hash: str = ""
    thumbnail: NDArray[np.float32] | None = None
    channels: tuple[str, ...] = ()
    unit: Unit = "mm"

    @property
    def image_file(self) -> str:
        """Return the image's file, or several in one text."""
        return files_text(self.case.image)

    @property
    def label_file(self) -> str:
        """Return the label file, or several in one text; empty if there is none."""
        return files_text(self.case.label or "")

    def note(self, level: Literal["error", "warning"], code: str, message: str) -> None:
        """Add a finding about the case."""
        self.findings.append(Finding(level, code, self.case.id, message))


@dataclass
class CheckReport:
    """Facts and findings of a whole dataset.

    Attributes:
        dataset: the dataset that was checked.
        cases: facts about every case.
        findings: findings about all of them.
        fault: error that keeps the whole dataset from being used; it is among the findings, too.
    """

    dataset: ScanDataset
    cases: list[CaseFacts]
    findings: list[Finding]
    fault: SemisegError | None = None

    @property
    def errors(self) -> list[Finding]:
        """Return the findings that must be corrected before training."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def names(self) -> dict[int, str]:
        """Return number -> name of the declared classes, or of those that were found."""
        found = list(scans_per_label(fact.labels for fact in self.cases))
        return class_names(names_of(self.dataset.labels, found))

    @property
    def voxels(self) -> dict[str, dict[int, int]]:
        """Return label file -> number -> voxels."""
        return {fact.label_file: fact.labels for fact in self.cases if fact.labels}

    @property
    def palette(self) -> dict[int, str]:
        """Return index -> colour of the palette that the label files share; or empty."""
        return {index: colour for fact in self.cases for index, colour in fact.palette.items()}

    @property
    def kind(self) -> str:
        """Return dimensions, channels and groups of the images in one line; empty if unknown."""
        dims, names = self.dataset.spatial_dims, self.dataset.channel_names
        groups = {fact.case.group for fact in self.cases} - {""}
        parts = [f"{dims}-D"] if dims else []
        parts += [f"channels {', '.join(names)}"] if names else []
        parts += [f"{len(groups)} groups"] if groups else []
        return ", ".join(parts)

    def label_rows(self) -> list[dict[str, Any]]:
        """Return number, name, voxels, share of all voxels and scans of every label."""
        ignore = ignore_value(self.dataset.labels)
        counts = [fact.labels for fact in self.cases]
        if ignore is not None:
            partial = [fact for fact in self.cases if fact.labels and fact.ignored]
            counts += [{ignore: fact.ignored} for fact in partial]
        scans = scans_per_label(counts)
        voxels = Counter[int]()
        for of_file in counts:
            voxels.update(of_file)
        names = {value: f"label_{value}" for value in scans} | self.names
        if ignore is not None:
            names[ignore] = self.dataset.labels[ignore]
        return [
            {
                "value": value,
                "name": name,
                "voxels": voxels[value],
                "share": voxels[value] / max(1, voxels.total()),
                "scans": scans.get(value, 0),
            }
            for value, name in sorted(names.items())
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as content of a JSON file."""
        return {
            "dataset": str(self.dataset.root),
            "spatial_dims": self.dataset.spatial_dims,
            "channel_names": self.dataset.channel_names,
            "labels": self.label_rows(),
            "cases": [_case_row(facts) for facts in self.cases],
            "findings": [asdict(finding) for finding in self.findings],
        }


def _case_row(facts: CaseFacts) -> dict[str, Any]:
    return {
        "id": facts.case.id,
        "group": facts.case.group,
        "channels": facts.channels,
        "shape": facts.shape,
        f"spacing_{facts.unit}": facts.spacing,
        "label_voxels": facts.labels,
        "ignored_voxels": facts.ignored,
    }
