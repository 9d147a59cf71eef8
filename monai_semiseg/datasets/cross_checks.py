"""Checks over all cases of a dataset: label values, sections of a split, similarity, duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_semiseg.datasets.check_report import CaseFacts, CheckReport, Finding
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.geometry_statistics import min_max, size_differences
from monai_semiseg.datasets.label_checks import invalid_label_files
from monai_semiseg.datasets.label_sections import scans_per_label, section_scans, untrained_lines
from monai_semiseg.datasets.label_values import (
    background_of,
    class_names,
    names_of,
    shortened,
)
from monai_semiseg.datasets.layout import LABEL_ALONE, files_text
from monai_semiseg.errors import LabelError

COUNTED_OBJECTS = (
    "; if numbers count objects (cells, glands), --label_threshold 0 makes them one class"
)


def absent_classes(dataset: ScanDataset, facts: Sequence[CaseFacts]) -> list[Finding]:
    """Find declared classes that no label shows, and the background if none does."""
    seen: set[int] = set()
    for fact in facts:
        seen.update(fact.labels)
    if not seen:
        return [Finding("warning", "W_UNLABELLED", "", "no scan has a label" + _naming(dataset))]
    names = class_names(names_of(dataset.labels, sorted(seen)))
    return [
        Finding("warning", "W_ABSENT", "", f"no label shows class {index} ({name})")
        for index, name in names.items()
        if index not in seen
    ]


def _naming(dataset: ScanDataset) -> str:
    """Return how label files have to be called, if there are some that belong to no image."""
    alone = [file for file, problem in dataset.problems.items() if problem == LABEL_ALONE]
    if not alone or not dataset.cases:
        return ""
    image = files_text(dataset.cases[0].image)
    return (
        f"; label files need the names of their images, as they are or with _mask behind: {image} "
        f"and {alone[0]} differ; rename them, or name the pairs in a table: id,group,image,label"
    )


def note_invalid_labels(dataset: ScanDataset, facts: Sequence[CaseFacts]) -> LabelError | None:
    """Note values that cannot be classes of the dataset with the cases that show them.

    Returns:
        The error that keeps the whole dataset from being used, or None.
    """
    fact_of = {fact.label_file: fact for fact in facts if fact.labels}
    counts = {name: fact.labels for name, fact in fact_of.items()}
    try:
        invalid = invalid_label_files(dataset.labels, counts, dataset.root)
    except LabelError as error:
        return error
    for name, cause in invalid.items():
        fact_of[name].note("error", cause.code, cause.reason)
        fact_of[name].labels = {}  # its numbers are no classes, so they have no row
    _note_rare_values(dataset, [fact for name, fact in fact_of.items() if name not in invalid])
    return None


def _note_rare_values(dataset: ScanDataset, facts: Sequence[CaseFacts]) -> None:
    """Note values in one file only; undeclared ones beyond the others' range are errors."""
    scans = scans_per_label(fact.labels for fact in facts)
    background = background_of(dataset.labels)
    rare = [value for value, number in scans.items() if number == 1 and value != background]
    for fact in facts if len(facts) > 3 else []:
        values = sorted(value for value in rare if value in fact.labels)
        known = [value for value in values if dataset.labels or value - 1 in scans]
        others = [value for value in values if value not in known]
        if known:
            hint = COUNTED_OBJECTS if not dataset.labels and len(known) > 2 else ""
            fact.note("warning", "W_RARE", _rare(fact, known) + hint)
        if others:
            hint = "; correct the file, or declare the value in dataset.json"
            fact.note("error", "E_LABEL", _rare(fact, others) + hint)


def _rare(fact: CaseFacts, values: Sequence[int]) -> str:
    start = "value {} occurs" if len(values) == 1 else "values {} occur"
    voxels = sum(fact.labels[value] for value in values)
    return f"{start.format(shortened(values))} in {fact.label_file} only ({voxels} voxels)"


def untrained_labels(report: CheckReport, datalist: Mapping[str, Any] | None) -> list[Finding]:
    """Find labels that no training scan of a split shows."""
    if datalist is None:
        return []
    scans = section_scans(datalist, report.voxels)
    lines = untrained_lines(scans, report.dataset.labels).values()
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
        fact for fact in facts if sections.get(fact.image_file) in ("training", "validation")
    ]
    sizes = [fact.size for fact in labelled if fact.size is not None]
    if not sizes:
        return []
    extents, spacings = np.stack(sizes, 1)
    known = {"extent": min_max(extents, 1), "spacing": min_max(spacings, 3)}
    modalities = {fact.modality for fact in labelled if fact.size is not None and fact.modality}
    findings = []
    for fact in facts:
        if fact.size is None or sections.get(fact.image_file) != "unlabeled":
            continue
        found = size_differences(fact.size, known)
        if fact.modality and modalities and fact.modality not in modalities:
            found["modality"] = f"modality {fact.modality}, theirs {', '.join(sorted(modalities))}"
        if found:
            text = (
                f"{fact.image_file}: unlike the labelled scans: {'; '.join(found.values())}; "
                "leave it out of the dataset?"
            )
            findings.append(Finding("warning", "W_UNLIKE", fact.case.id, text))
    return findings


def _sections_on_disk(facts: Sequence[CaseFacts]) -> dict[str, str]:
    return {
        fact.image_file: "unlabeled" if fact.case.label is None else "training" for fact in facts
    }


def _sections(datalist: Mapping[str, Any]) -> dict[str, str]:
    """Return image -> section of a datalist."""
    found = {}
    for section, entries in datalist.items():
        if isinstance(entries, list):
            found.update({files_text(entry["image"]): section for entry in entries})
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
    text = f"the same voxels: {', '.join(fact.case.id for fact in group)}"
    used = {sections.get(fact.image_file, "") for fact in group} - {""}
    if len(used) > 1:
        text += f", in {' and '.join(sorted(used))}: a leak"
        return Finding("error", "E_LEAK", group[0].case.id, text)
    return Finding("warning", "W_DOUBLE", group[0].case.id, text)
