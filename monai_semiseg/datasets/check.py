"""Check of a dataset before training: pairs, geometry, label values, leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from monai_semiseg.datasets.check_report import CaseFacts, CheckReport, Finding
from monai_semiseg.datasets.cross_checks import (
    absent_classes,
    duplicates,
    note_invalid_labels,
    unlike_labelled,
    untrained_labels,
)
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.geometry_statistics import size_in_ras
from monai_semiseg.datasets.group_hints import thumbnail, undeclared_groups
from monai_semiseg.datasets.kinds import common_dims, common_unit, note_other_channels
from monai_semiseg.datasets.label_checks import count_values, require_values, split_ignored
from monai_semiseg.datasets.label_colours import palette_fault
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_names import label_paths
from monai_semiseg.datasets.label_values import background_of
from monai_semiseg.datasets.layout import Files, files_text
from monai_semiseg.errors import DimensionError, GeometryError, InputError, LabelError, SemisegError
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.run import Done, run_in_order
from monai_semiseg.executors.work import Work
from monai_semiseg.images.grid import axes_onto, in_ras_order
from monai_semiseg.images.volume import Volume, collect_warnings


def check_dataset(
    dataset: ScanDataset,
    datalist: dict[str, Any] | None = None,
    *,
    workers: int = 4,
    progress: bool = True,
    executor: ExecutorChoice | None = None,
    logs: Path | None = None,
) -> CheckReport:
    """Read every scan and label once and collect all problems.

    Args:
        dataset: the dataset to check.
        datalist: a split of it; scans that occur in two of its sections are then a leak.
        workers: number of threads (decompression runs in parallel in threads).
        progress: show a progress bar.
        executor: what reads the cases, in place of threads of this process.
        logs: folder for the workers' logs; has to be named with an executor.

    Raises:
        ConfigError: If the executor cannot be opened.
    """
    facts = _read_all(dataset, workers, progress, executor, logs)
    findings = [
        Finding("error", "E_LAYOUT", "", f"{file}: {problem}")
        for file, problem in dataset.problems.items()
    ]
    if not dataset.cases and not findings:
        findings.append(Finding("error", "E_LAYOUT", "", "there is no scan"))
    palettes = {fact.label_file: fact.palette for fact in facts}
    fault: SemisegError | None = note_invalid_labels(dataset, facts)
    fault = fault or palette_fault(palettes, dataset.root)
    dataset, errors = _of_one_kind(dataset, facts)
    for error in errors:
        if isinstance(error, DimensionError):
            fault = error
        else:  # of a split, the part that trains may still be of one kind
            findings.append(Finding("error", error.code, "", error.reason))
    for fact in facts:
        findings += fact.findings
    if fault is not None:
        findings.append(Finding("error", fault.code, "", fault.reason))
    findings += undeclared_groups(facts)
    report = CheckReport(dataset, facts, findings, fault)
    findings += absent_classes(dataset, facts)
    findings += untrained_labels(report, datalist)
    findings += unlike_labelled(facts, datalist)
    findings += duplicates(facts, datalist)
    return report


def _read_all(
    dataset: ScanDataset,
    workers: int,
    progress: bool,
    executor: ExecutorChoice | None,
    logs: Path | None,
) -> list[CaseFacts]:
    """Read every scan and label once."""
    work = CheckWork.of(dataset)
    bar = partial(
        tqdm,
        desc="Checking",
        total=len(dataset.cases),
        disable=None if progress else True,
        unit="scan",
        smoothing=0,
    )
    if executor is None or logs is None:
        with ThreadPoolExecutor(workers) as pool:
            return list(bar(pool.map(work.check, dataset.cases)))
    return [_facts_of(end) for end in run_in_order(executor, work, dataset.cases, logs, bar)]


@dataclass(frozen=True)
class CheckWork(Work[DatasetCase, CaseFacts]):
    """Check of single cases.

    Attributes:
        dataset: that they are from; it need not list them.
        wants_thumbnails: nobody declares groups, so that they are guessed from the images.
    """

    dataset: ScanDataset
    wants_thumbnails: bool

    @classmethod
    def of(cls, dataset: ScanDataset) -> CheckWork:
        """Return the work for a dataset."""
        grouped = any(one.group for one in dataset.cases)
        return cls(replace(dataset, cases=[], problems={}), not grouped)

    def open(self) -> Callable[[Sequence[DatasetCase]], Iterator[CaseFacts]]:
        """Return the function that checks cases."""
        return partial(map, self.check)

    def check(self, case: DatasetCase) -> CaseFacts:
        """Read a case and its label once."""
        return _check_case(case, self.dataset, self.wants_thumbnails)


def _facts_of(end: Done[DatasetCase, CaseFacts]) -> CaseFacts:
    """Return what was found; of a case whose workers were lost, that."""
    if end.error is None:
        return end.value()
    facts = CaseFacts(end.item)
    facts.note("error", end.error.code, end.error.reason)
    return facts


def _of_one_kind(
    dataset: ScanDataset, facts: Sequence[CaseFacts]
) -> tuple[ScanDataset, list[InputError]]:
    """Return the dataset with what its images share, and errors about what they do not share."""
    names = note_other_channels(dataset, facts)
    read = [fact for fact in facts if fact.shape]
    dims = unit = None
    errors: list[InputError] = []
    try:
        dims = common_dims({fact.image_file: fact.shape for fact in read}, dataset.root)
    except DimensionError as error:
        errors.append(error)
    try:
        unit = common_unit({fact.image_file: fact.unit for fact in read}, dataset.root)
    except GeometryError as error:
        errors.append(error)
    return replace(dataset, channel_names=names, spatial_dims=dims, unit=unit), errors


def _check_case(case: DatasetCase, dataset: ScanDataset, wants_thumbnail: bool) -> CaseFacts:
    facts = CaseFacts(case)
    try:
        image = read_into(facts, dataset)
        facts.pixel_hash = _pixel_hash(image)
        if wants_thumbnail:
            facts.thumbnail = thumbnail(image)
        if case.label is not None:
            _check_label(case.label, image, dataset, facts)
    except InputError as error:
        facts.note("error", error.code, error.reason)
    return facts


def read_into(facts: CaseFacts, dataset: ScanDataset) -> Volume:
    """Read the image of a case, note what it is like, and return it.

    Raises:
        InputError: If it cannot be read correctly.
    """
    with _warnings_noted(facts):
        image = dataset.read_image(facts.case)
    facts.shape = image.shape
    facts.spacing = tuple(round(s, 4) for s in image.spacing)
    facts.size = size_in_ras(image.shape, image.affine)
    facts.modality = str(image.meta.get("modality", ""))
    facts.channels = image.channels
    facts.unit = image.unit
    return image


@contextmanager
def _warnings_noted(facts: CaseFacts) -> Iterator[None]:
    """Turn every warning of the reader ("CODE file: message") into a finding."""
    with collect_warnings() as texts:
        yield
    for text in texts:
        code, _, message = text.partition(" ")
        facts.note("warning", code, message)


def _check_label(files: Files, image: Volume, dataset: ScanDataset, facts: CaseFacts) -> None:
    paths = label_paths(dataset.root, files)
    name = files_text(files)
    with _warnings_noted(facts):
        label = read_label(paths, dataset.label_rule)
    facts.labels = count_values(label.array)
    facts.palette = label.meta.get("palette", {})
    try:
        require_values(facts.labels, dataset.labels, name)
    except LabelError as error:
        facts.note("error", error.code, error.reason)
    facts.labels, facts.ignored = split_ignored(facts.labels, dataset.labels)
    if not facts.labels:
        text = f"{name}: nothing but voxels to ignore; the case counts as unlabelled"
        facts.note("warning", "W_IGNORED", text)
        facts.case = replace(facts.case, label=None)
    elif not set(facts.labels) - {background_of(dataset.labels)}:
        facts.note("warning", "W_EMPTY", f"{name}: no foreground")
    axes_onto(label.grid, image.grid, paths[0])


def _pixel_hash(volume: Volume) -> str:
    """Hash the voxels in RAS order, so that the stored order of the axes has no effect."""
    ordered = in_ras_order(volume.array, volume.affine)
    voxels = np.ascontiguousarray(ordered, dtype=np.float32)
    return hashlib.sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()
