"""The sound part of a dataset: what ``check`` calls no error."""

from __future__ import annotations

from dataclasses import dataclass, replace

from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.plain_text import printable


@dataclass(frozen=True)
class SoundCases:
    """What is left of a dataset.

    Attributes:
        dataset: without the cases that ``check`` calls errors.
        left_out: case or file -> why it is left out.
        notes: remarks on the sound cases.
        voxels: label file -> number -> voxels.
    """

    dataset: ScanDataset
    left_out: dict[str, str]
    notes: list[str]
    voxels: dict[str, dict[int, int]]


def sound_cases(dataset: ScanDataset, *, progress: bool = True) -> SoundCases:
    """Read a whole dataset and part it into sound cases and others.

    Headers would be faster, but a file that is cut short, holds NaN or has strange labels has a
    sound header.

    Raises:
        ConfigError: If nothing is left.
        LabelError: If the labels as a whole cannot be classes (grey levels, ``ignore``).
    """
    report = check_dataset(dataset, progress=progress)
    if report.fault is not None:
        raise report.fault
    left_out = {printable(str(file)): printable(str(why)) for file, why in dataset.problems.items()}
    sound, notes = [], []
    for facts in report.cases:
        errors = [finding.message for finding in facts.findings if finding.level == "error"]
        if errors:
            left_out[facts.case.id] = printable(str("; ".join(errors)))
        else:
            sound.append(facts.case)
            notes += [f"{finding.code} {finding.message}" for finding in facts.findings]
    if not sound:
        first, why = next(iter(left_out.items()), ("", "there is no scan"))
        raise ConfigError(
            f"no sound scan; {first}: {why}" if first else "no scan",
            expected="at least one scan that can be read",
            remedy="run monai-semiseg check",
            path=dataset.root,
        )
    return SoundCases(replace(dataset, cases=sound), left_out, notes, report.voxels)
