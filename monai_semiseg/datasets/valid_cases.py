"""Selection of the valid cases of a dataset: those without an error in ``check``."""

from __future__ import annotations

from dataclasses import replace

from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.plain_text import printable


def valid_cases(
    dataset: ScanDataset, *, progress: bool = True
) -> tuple[ScanDataset, dict[str, str], list[str]]:
    """Read a whole dataset and select its valid cases.

    Reading headers would be faster, but a truncated file, or one with NaN or undeclared labels, may
    have a valid header.

    Returns:
        The dataset of the valid cases, case or file -> reason for the others, and the warnings
        about the valid ones.

    Raises:
        ConfigError: If nothing is left.
    """
    report = check_dataset(dataset, progress=progress)
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
        first, reason = next(iter(left_out.items()), ("", ""))
        raise ConfigError(
            f"no valid scan; {first}: {reason}" if first else "no scan",
            expected="at least one scan that can be read",
            remedy="run monai-semiseg check",
            path=dataset.root,
        )
    return replace(dataset, cases=valid), left_out, notes
