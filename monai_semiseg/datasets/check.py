"""A dataset looked over before any training: pairs, geometry, label values, leaks."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.geometry_statistics import extremes, size_differences, size_in_ras
from monai_semiseg.errors import InputError, LabelError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import Volume, require_depth


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


@dataclass
class CheckReport:
    """The whole dataset's facts and findings."""

    dataset: ScanDataset
    cases: list[CaseFacts]
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """Findings that must be mended before training."""
        return [finding for finding in self.findings if finding.level == "error"]

    def as_dict(self) -> dict[str, Any]:
        """The report for a JSON file."""
        return {
            "dataset": str(self.dataset.root),
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
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        # A thread cannot own the warning filters, so each case's warnings are gathered by a shared
        # recorder.
        warnings.simplefilter("ignore")
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
    findings += [finding for fact in facts for finding in fact.findings]
    findings += (
        _undeclared_absent(dataset, facts)
        + unlike_labelled(facts, datalist)
        + _doubles(facts, datalist)
    )
    return CheckReport(dataset, facts, findings)


def whole_labels(volume: Volume, path: Path) -> NDArray[np.int64]:
    """A label map's values as integers.

    Raises:
        LabelError: If a value is not a whole number (a resampled label map, or an image in the
            wrong folder).
    """
    rounded = np.rint(volume.array)
    off = np.abs(volume.array - rounded).max() if volume.array.size else 0.0
    if off > 1e-3:
        raise LabelError(
            "values that are not whole numbers",
            expected="one class index per voxel",
            remedy="resample label maps with nearest neighbour only",
            path=path,
        )
    return np.asarray(rounded, dtype=np.int64)


def _check_case(case: DatasetCase, dataset: ScanDataset) -> CaseFacts:
    facts = CaseFacts(case)

    def note(level: Literal["error", "warning"], code: str, message: str) -> None:
        facts.findings.append(Finding(level, code, case.id, message))

    try:
        image = read_scan(dataset.root / case.image)
        require_depth(image.array.shape, dataset.root / case.image)
        facts.shape, facts.spacing = image.array.shape, tuple(round(s, 4) for s in image.spacing)
        facts.size, facts.modality = (
            size_in_ras(image.array.shape, image.affine),
            str(image.meta.get("modality", "")),
        )
        facts.pixel_hash = _pixel_hash(image)
        if image.array.min() == image.array.max():
            note("warning", "W_CONSTANT", f"{case.image}: every voxel has the same value")
        if case.label is not None:
            _check_label(case.label, image, dataset, facts, note)
    except InputError as error:
        note("error", error.code, error.reason)
    return facts


def _check_label(
    name: str, image: Volume, dataset: ScanDataset, facts: CaseFacts, note: Any
) -> None:
    label = read_scan(dataset.root / name)
    values, counts = np.unique(whole_labels(label, dataset.root / name), return_counts=True)
    facts.labels = {int(value): int(count) for value, count in zip(values, counts, strict=True)}
    declared = set(dataset.labels)
    strange = {v: n for v, n in facts.labels.items() if (declared and v not in declared) or v < 0}
    if strange:
        text = ", ".join(f"{value} ({count} voxels)" for value, count in strange.items())
        note(
            "error", "E_LABEL", f"{name}: undeclared values {text}; declared are {sorted(declared)}"
        )
    if not any(value > 0 for value in facts.labels):
        note("warning", "W_EMPTY", f"{name}: no foreground")
    if problem := geometry_mismatch(image, label):
        note("error", "E_GEOMETRY", f"{name}: {problem}")


def geometry_mismatch(a: Volume, b: Volume) -> str:
    """How the grids of two volumes differ; empty if they are one (1e-3 mm in voxel size, 1e-3 rad, 0.1 mm in place)."""
    if a.array.shape != b.array.shape:
        return f"shape {b.array.shape}, the image has {a.array.shape}"
    if not np.allclose(a.spacing, b.spacing, atol=1e-3):
        return f"voxel size {np.round(b.spacing, 4).tolist()} mm, the image has {np.round(a.spacing, 4).tolist()}"
    cosines = np.sum((a.affine[:3, :3] / a.spacing) * (b.affine[:3, :3] / b.spacing), axis=0)
    angle = float(np.arccos(np.clip(cosines, -1, 1)).max())
    if angle > 2e-3:
        return f"axes are turned by {math.degrees(angle):.2f} degrees against the image's"
    offset = float(np.abs(a.affine[:3, 3] - b.affine[:3, 3]).max())
    return f"lies {offset:.2f} mm off the image" if offset > 0.1 else ""


def _pixel_hash(volume: Volume) -> str:
    voxels = np.ascontiguousarray(volume.array, dtype=np.float32)
    return hashlib.sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()


def _undeclared_absent(dataset: ScanDataset, facts: list[CaseFacts]) -> list[Finding]:
    """Declared classes that no label shows."""
    seen = {value for fact in facts for value in fact.labels}
    if not seen:
        return [Finding("warning", "W_UNLABELLED", "", "no scan has a label")]
    return [
        Finding(
            "warning", "W_ABSENT", "", f"class {index} ({name}) is declared, but no label shows it"
        )
        for index, name in dataset.labels.items()
        if index not in seen
    ]


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
            found.append(f"modality {fact.modality}, theirs {', '.join(sorted(modalities))}")
        if found:
            text = f"{fact.case.image}: unlike the labelled scans: {'; '.join(found)}; leave it out of the dataset?"
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
