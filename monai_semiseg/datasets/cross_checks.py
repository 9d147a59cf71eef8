"""Checks over all cases of a dataset: label values, sections of a split, similarity, duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_semiseg.datasets.check_report import CaseFacts, Finding
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.geometry_statistics import min_max, size_differences
from monai_semiseg.datasets.label_checks import invalid_label_files
from monai_semiseg.datasets.label_sections import LABELLED, scans_per_label, untrained_lines
from monai_semiseg.errors import LabelError


def absent_classes(dataset: ScanDataset, facts: Sequence[CaseFacts]) -> list[Finding]:
    """Find declared classes that no label shows."""
    seen: set[int] = set()
    for fact in facts:
        seen.update(fact.labels)
    if not seen:
        return [Finding("warning", "W_UNLABELLED", "", "no scan has a label")]
    return [
        Finding(
            "warning", "W_ABSENT", "", f"class {index} ({name}) is declared, but no label shows it"
        )
        for index, name in dataset.labels.items()
        if index not in seen
    ]


def invalid_labels(dataset: ScanDataset, facts: Sequence[CaseFacts]) -> list[Finding]:
    """Find values that cannot be classes of the dataset, and those that only one scan shows."""
    counts = {str(fact.case.label): fact.labels for fact in facts if fact.labels}
    try:
        invalid = invalid_label_files(dataset.labels, counts, dataset.root)
    except LabelError as error:
        return [Finding("error", error.code, "", error.reason)]
    findings = [Finding("error", error.code, "", error.reason) for error in invalid.values()]
    valid = {name: of_file for name, of_file in counts.items() if name not in invalid}
    return findings + (_rare_values(dataset, valid) if len(valid) > 3 else [])


def _rare_values(dataset: ScanDataset, counts: Mapping[str, Mapping[int, int]]) -> list[Finding]:
    """Find values in one file only; undeclared ones beyond the others' range are errors."""
    scans = scans_per_label(counts.values())
    findings = []
    for value in (value for value, number in scans.items() if number == 1 and value > 0):
        file, of_file = next((name, one) for name, one in counts.items() if value in one)
        text = f"value {value} occurs in {file} only ({of_file[value]} voxels)"
        if dataset.labels or value - 1 in scans:
            findings.append(Finding("warning", "W_RARE", "", text))
            continue
        text += "; correct the file, or declare the value in dataset.json"
        findings.append(Finding("error", "E_LABEL", "", text))
    return findings


def untrained_labels(
    dataset: ScanDataset, facts: Sequence[CaseFacts], datalist: Mapping[str, Any] | None
) -> list[Finding]:
    """Find labels that no training scan of a split shows."""
    if datalist is None:
        return []
    shown = {fact.case.image: fact.labels for fact in facts}
    scans = {
        part: scans_per_label(
            shown.get(entry["image"], {}) for entry in datalist.get(part, []) if "label" in entry
        )
        for part in LABELLED
    }
    lines = untrained_lines(scans, dataset.labels).values()
    return [Finding("warning", "W_UNTRAINED", "", line) for line in lines]


def unlike_labelled(
    facts: Sequence[CaseFacts], datalist: Mapping[str, Any] | None
) -> list[Finding]:
    """Find unlabelled scans that differ in size or modality from all labelled ones.

    Methods would learn from them as from the others.

    Args:
        facts: facts of all scans.
        datalist: split with the labelled scans (``training``, ``validation``) and the unlabelled
            ones (``unlabeled``); if None, scans with a label file are the labelled ones.
    """
    sections = _sections_on_disk(facts) if datalist is None else _sections(datalist)
    labelled = [
        fact for fact in facts if sections.get(fact.case.image) in ("training", "validation")
    ]
    sizes = [fact.size for fact in labelled if fact.size is not None]
    if not sizes:
        return []
    extents, spacings = np.stack(sizes, 1)
    known = {"extent": min_max(extents, 1), "spacing": min_max(spacings, 3)}
    modalities = {fact.modality for fact in labelled if fact.size is not None and fact.modality}
    findings = []
    for fact in facts:
        if fact.size is None or sections.get(fact.case.image) != "unlabeled":
            continue
        found = size_differences(fact.size, known)
        if fact.modality and modalities and fact.modality not in modalities:
            found["modality"] = f"modality {fact.modality}, theirs {', '.join(sorted(modalities))}"
        if found:
            text = (
                f"{fact.case.image}: unlike the labelled scans: {'; '.join(found.values())}; "
                "leave it out of the dataset?"
            )
            findings.append(Finding("warning", "W_UNLIKE", fact.case.id, text))
    return findings


def _sections_on_disk(facts: Sequence[CaseFacts]) -> dict[str, str]:
    return {
        fact.case.image: "unlabeled" if fact.case.label is None else "training" for fact in facts
    }


def _sections(datalist: Mapping[str, Any]) -> dict[str, str]:
    """Return image -> section of a datalist."""
    found = {}
    for section, entries in datalist.items():
        if isinstance(entries, list):
            found.update({entry["image"]: section for entry in entries})
    return found


def duplicates(facts: Sequence[CaseFacts], datalist: Mapping[str, Any] | None) -> list[Finding]:
    """Find scans with equal voxels; across the sections of a split they are a leak."""
    sections = _sections(datalist or {})
    groups: dict[str, list[CaseFacts]] = defaultdict(list)
    for fact in facts:
        if fact.pixel_hash:
            groups[fact.pixel_hash].append(fact)
    return [_duplicate(group, sections) for group in groups.values() if len(group) > 1]


def _duplicate(group: Sequence[CaseFacts], sections: Mapping[str, str]) -> Finding:
    text = f"the same voxels as {', '.join(fact.case.id for fact in group)}"
    used = {sections.get(fact.case.image, "") for fact in group} - {""}
    if len(used) > 1:
        text += f", in {' and '.join(sorted(used))}: a leak"
        return Finding("error", "E_LEAK", group[0].case.id, text)
    return Finding("warning", "W_DOUBLE", group[0].case.id, text)
