"""A dataset looked over before any training: pairs, geometry, label values, leaks."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.geometry_statistics import extremes, size_differences, size_in_ras
from monai_semiseg.datasets.label_sections import scans_showing, section_scans, untrained_lines
from monai_semiseg.datasets.label_values import (
    count_values,
    names_of,
    odd_files,
    require_values,
    whole_labels,
)
from monai_semiseg.errors import InputError, LabelError
from monai_semiseg.images.grid import axes_onto, in_ras_order
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import Volume, collected_notes, require_depth


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (``error``) or deserves a look (``warning``)."""

    level: Literal["error", "warning"]
    code: str
    case: str
    message: str


@dataclass
class CaseFacts:
    """What one pass over a case learned."""

    case: DatasetCase
    findings: list[Finding] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    size: NDArray[np.float64] | None = None
    modality: str = ""
    labels: dict[int, int] = field(default_factory=dict)
    pixel_hash: str = ""

    def note(self, level: Literal["error", "warning"], code: str, message: str) -> None:
        """Add a finding about the case."""
        self.findings.append(Finding(level, code, self.case.id, message))


@dataclass
class CheckReport:
    """The whole dataset's facts and findings.

    Attributes:
        dataset: what was checked.
        cases: one for each case.
        findings: about all of them.
        fault: what keeps the whole dataset from being used; it stands among the findings, too.
    """

    dataset: ScanDataset
    cases: list[CaseFacts]
    findings: list[Finding]
    fault: LabelError | None = None

    @property
    def errors(self) -> list[Finding]:
        """Findings that must be mended before training."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def names(self) -> dict[int, str]:
        """Number -> name of every label that is declared, else of every one that was found."""
        return names_of(
            self.dataset.labels, list(scans_showing(fact.labels for fact in self.cases))
        )

    @property
    def voxels(self) -> dict[str, dict[int, int]]:
        """Label file -> number -> voxels."""
        return {str(fact.case.label): fact.labels for fact in self.cases if fact.labels}

    def label_rows(self) -> list[dict[str, Any]]:
        """Every label's number, name, voxels, share of the voxels of all label maps, and scans that show it."""
        scans = scans_showing(fact.labels for fact in self.cases)
        voxels = Counter[int]()
        for fact in self.cases:
            voxels.update(fact.labels)
        names = {**names_of({}, list(scans)), **self.names}
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
        """The report for a JSON file."""
        return {
            "dataset": str(self.dataset.root),
            "labels": self.label_rows(),
            "cases": [
                {
                    "id": f.case.id,
                    "shape": f.shape,
                    "spacing_mm": f.spacing,
                    "label_voxels": f.labels,
                }
                for f in self.cases
            ],
            "findings": [asdict(finding) for finding in self.findings],
        }


def check_dataset(
    dataset: ScanDataset,
    datalist: dict[str, Any] | None = None,
    *,
    workers: int = 4,
    progress: bool = True,
) -> CheckReport:
    """Read every scan and label once and collect all that is wrong with them.

    Args:
        dataset: what to check.
        datalist: a split of it; scans that occur twice across its sections are then a leak.
        workers: threads (reading is decompression, which runs in parallel in threads).
        progress: show a bar.
    """
    with ThreadPoolExecutor(workers) as pool:
        jobs = pool.map(lambda case: _check_case(case, dataset), dataset.cases)
        facts = list(
            tqdm(
                jobs,
                "Checking",
                len(dataset.cases),
                disable=None if progress else True,
                unit="scan",
            )
        )
    findings = [
        Finding("error", "E_LAYOUT", "", f"{file}: {problem}")
        for file, problem in dataset.problems.items()
    ]
    if not dataset.cases and not findings:
        findings.append(Finding("error", "E_LAYOUT", "", "there is no scan"))
    fault = _note_odd_labels(dataset, facts)
    findings += [finding for fact in facts for finding in fact.findings]
    if fault is not None:
        findings.append(Finding("error", fault.code, "", fault.reason))
    report = CheckReport(dataset, facts, findings, fault)
    report.findings += (
        _undeclared_absent(dataset, facts)
        + _untrained(report, datalist)
        + unlike_labelled(facts, datalist)
        + _doubles(facts, datalist)
    )
    return report


def _check_case(case: DatasetCase, dataset: ScanDataset) -> CaseFacts:
    facts = CaseFacts(case)
    try:
        with _noted(facts):
            image = read_scan(dataset.root / case.image)
        require_depth(image.array.shape, dataset.root / case.image)
        facts.shape, facts.spacing = image.array.shape, tuple(round(s, 4) for s in image.spacing)
        facts.size, facts.modality = (
            size_in_ras(image.array.shape, image.affine),
            str(image.meta.get("modality", "")),
        )
        facts.pixel_hash = _pixel_hash(image)
        if case.label is not None:
            _check_label(case.label, image, dataset, facts)
    except InputError as error:
        facts.note("error", error.code, error.reason)
    return facts


@contextmanager
def _noted(facts: CaseFacts) -> Iterator[None]:
    """Make a warning of whatever the reader has to say of a scan; "CODE file: message" each."""
    with collected_notes() as notes:
        yield
    for note in notes:
        code, _, message = note.partition(" ")
        facts.note("warning", code, message)


def _check_label(name: str, image: Volume, dataset: ScanDataset, facts: CaseFacts) -> None:
    path = dataset.root / name
    with _noted(facts):
        label = read_scan(path)
    facts.labels = count_values(whole_labels(label.array, path))
    try:
        require_values(facts.labels, dataset.labels, name)
    except LabelError as error:
        facts.note("error", error.code, error.reason)
    if not any(value > 0 for value in facts.labels):
        facts.note("warning", "W_EMPTY", f"{name}: no foreground")
    axes_onto(label.grid, image.grid, path)


def _pixel_hash(volume: Volume) -> str:
    """Hash the voxels in one order of axes: stored in another one, a scan is still the same."""
    ordered = in_ras_order(volume.array, volume.affine)
    voxels = np.ascontiguousarray(ordered, dtype=np.float32)
    return hashlib.sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()


def _undeclared_absent(dataset: ScanDataset, facts: list[CaseFacts]) -> list[Finding]:
    """Declared classes that no label shows, and the background if none does."""
    seen = {value for fact in facts for value in fact.labels}
    if not seen:
        return [Finding("warning", "W_UNLABELLED", "", "no scan has a label")]
    return [
        Finding("warning", "W_ABSENT", "", f"no label shows class {index} ({name})")
        for index, name in names_of(dataset.labels, sorted(seen)).items()
        if index not in seen
    ]


def _note_odd_labels(dataset: ScanDataset, facts: list[CaseFacts]) -> LabelError | None:
    """Note numbers that cannot be the data set's classes with the cases that show them.

    Returns:
        What keeps the whole data set from being used, or None.
    """
    fact_of = {str(fact.case.label): fact for fact in facts if fact.labels}
    counts = {name: fact.labels for name, fact in fact_of.items()}
    try:
        odd = odd_files(dataset.labels, counts, dataset.root)
    except LabelError as error:
        return error
    for name, fault in odd.items():
        fact_of[name].note("error", fault.code, fault.reason)
    _note_rare(dataset, [fact for name, fact in fact_of.items() if name not in odd])
    return None


def _note_rare(dataset: ScanDataset, facts: list[CaseFacts]) -> None:
    """Note numbers that a single scan shows: errors unless declared or next to the others."""
    scans = scans_showing(fact.labels for fact in facts)
    for value in (value for value, n in scans.items() if n == 1 and value > 0 and len(facts) > 3):
        fact = next(fact for fact in facts if value in fact.labels)
        text = f"value {value} occurs in {fact.case.label} only ({fact.labels[value]} voxels)"
        if dataset.labels or value - 1 in scans:
            fact.note("warning", "W_RARE", text)
        else:
            text += "; mend the file, or declare the value in dataset.json"
            fact.note("error", "E_LABEL", text)


def _untrained(report: CheckReport, datalist: dict[str, Any] | None) -> list[Finding]:
    """Labels that no training scan of a split shows."""
    if datalist is None:
        return []
    scans = section_scans(datalist, report.voxels)
    lines = untrained_lines(scans, report.dataset.labels).values()
    return [Finding("warning", "W_UNTRAINED", "", line) for line in lines]


def unlike_labelled(facts: list[CaseFacts], datalist: dict[str, Any] | None) -> list[Finding]:
    """Scans without a label that are of another kind than the labelled ones: methods would learn from them as well.

    Args:
        facts: of all scans.
        datalist: who is labelled (``training``, ``validation``) and who is not (``unlabeled``); as
            on disk if None.
    """
    on_disk = {
        fact.case.image: "unlabeled" if fact.case.label is None else "training" for fact in facts
    }
    sections = on_disk if datalist is None else _sections(datalist)
    read = [
        (fact, sections.get(fact.case.image), fact.size) for fact in facts if fact.size is not None
    ]
    models = [(fact, size) for fact, section, size in read if section in ("training", "validation")]
    if not models:
        return []
    extents, spacings = np.stack([size for _, size in models], 1)
    known = {"extent": extremes(extents, 1), "spacing": extremes(spacings, 3)}
    modalities = {fact.modality for fact, _ in models if fact.modality}
    findings = []
    for fact, size in ((fact, size) for fact, section, size in read if section == "unlabeled"):
        found = size_differences(size, known)
        if fact.modality and modalities and fact.modality not in modalities:
            found["modality"] = f"modality {fact.modality}, theirs {', '.join(sorted(modalities))}"
        if found:
            differences = "; ".join(found.values())
            text = (
                f"{fact.case.image}: unlike the labelled scans: {differences}; "
                "leave it out of the dataset?"
            )
            findings.append(Finding("warning", "W_UNLIKE", fact.case.id, text))
    return findings


def _sections(datalist: dict[str, Any]) -> dict[str, str]:
    """Image -> the section that it is in."""
    lists = {section: entries for section, entries in datalist.items() if isinstance(entries, list)}
    return {entry["image"]: section for section, entries in lists.items() for entry in entries}


def _doubles(facts: list[CaseFacts], datalist: dict[str, Any] | None) -> list[Finding]:
    """Scans with the same voxels under two names; across the sections of a split they are a leak."""
    sections = _sections(datalist or {})
    groups: dict[str, list[CaseFacts]] = defaultdict(list)
    for fact in facts:
        if fact.pixel_hash:
            groups[fact.pixel_hash].append(fact)
    findings = []
    for group in groups.values():
        if len(group) < 2:
            continue
        names = ", ".join(fact.case.id for fact in group)
        where = {sections.get(fact.case.image, "") for fact in group} - {""}
        if len(where) > 1:
            text = f"the same voxels as {names}, in {' and '.join(sorted(where))}: a leak"
            findings.append(Finding("error", "E_LEAK", group[0].case.id, text))
        else:
            findings.append(
                Finding("warning", "W_DOUBLE", group[0].case.id, f"the same voxels as {names}")
            )
    return findings
