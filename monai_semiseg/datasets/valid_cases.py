"""Selection of the valid cases of a dataset: those without an error in ``check``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.kinds import no_scan_error
from monai_semiseg.datasets.label_sections import scans_per_label
from monai_semiseg.datasets.label_values import names_of
from monai_semiseg.plain_text import printable


@dataclass(frozen=True)
class ValidCases:
    """The valid part of a dataset.

    Attributes:
        dataset: the dataset without the cases that ``check`` calls errors; cases whose label holds
            nothing but voxels to ignore have no label.
        left_out: case or file -> reason why it is left out.
        notes: warnings about the valid cases.
        voxels: label file -> number -> voxels.
    """

    dataset: ScanDataset
    left_out: dict[str, str]
    notes: list[str]
    voxels: dict[str, dict[int, int]]

    @property
    def labels(self) -> dict[int, str]:
        """Return number -> name of the declared labels, or of those that were found."""
        return names_of(self.dataset.labels, list(scans_per_label(self.voxels.values())))


def valid_cases(dataset: ScanDataset, *, progress: bool = True) -> ValidCases:
    """Read a whole dataset and select its valid cases.

    Reading headers would be faster, but a truncated file, or one with NaN or undeclared labels, may
    have a valid header.

    Raises:
        ConfigError: If nothing is left.
        LabelError: If the labels as a whole cannot be classes (grey levels, 255 beside 1, 2, ...).
    """
    report = check_dataset(dataset, progress=progress)
    if report.fault is not None:
        raise report.fault
    left_out = {
        printable(str(file)): printable(str(reason)) for file, reason in dataset.problems.items()
    }
    valid = []
    notes = []
    for facts in report.cases:
        errors = [finding.message for finding in facts.findings if finding.level == "error"]
        if errors:
            left_out[facts.case.id] = printable(str("; ".join(errors)))
        else:
            valid.append(facts.case)
            notes += [f"{finding.code} {finding.message}" for finding in facts.findings]
    if not valid:
        raise no_scan_error(dataset, left_out, "no valid scan")
    rule = replace(dataset.label_rule, palette=report.palette)
    sound = replace(report.dataset, cases=valid, label_rule=rule)
    return ValidCases(sound, left_out, notes, report.voxels)
