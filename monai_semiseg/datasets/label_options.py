"""The rule for the label files of a whole dataset: options, declared labels, names of files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from monai_semiseg.datasets.case_names import stem_of
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.label_names import label_name, numbers_of_names, unnamed_error
from monai_semiseg.datasets.label_rules import LabelRule, read_labels, recorded_rule
from monai_semiseg.datasets.label_segments import (
    names_segments,
    numbers_of_segments,
    segments_in,
)
from monai_semiseg.datasets.label_values import foreground_of
from monai_semiseg.datasets.layout import files_of
from monai_semiseg.errors import ConfigError


def with_label_rule(
    dataset: ScanDataset,
    *,
    threshold: float | None = None,
    merge: bool = False,
    datalist: Mapping[str, Any] | None = None,
) -> ScanDataset:
    """Return a dataset whose label files are read by the rule that the user asks for.

    Args:
        dataset: the dataset; its labels may be declared.
        threshold: grey values above it are foreground; or None.
        merge: whether to join several binary files of a case.
        datalist: a split; its rule and labels are used.

    Raises:
        ConfigError: If the options contradict the datalist or the declared labels.
    """
    if datalist is not None:
        return _as_recorded(dataset, threshold, merge, datalist)
    if threshold is None and not merge:
        return _with_segments(dataset)
    foreground = foreground_of(dataset.labels)
    if threshold is not None and (
        dataset.label_rule.colours or (len(foreground) > 1 and not merge)
    ):
        raise ConfigError(
            f"--label_threshold {threshold}, and the labels {', '.join(foreground.values())}",
            expected="one label for all that is above the threshold",
            remedy="declare one label in dataset.json, or leave --label_threshold out",
            path=dataset.root,
        )
    rule = replace(dataset.label_rule, threshold=threshold, merge=merge)
    if merge and not rule.colours:
        return _with_names(dataset, rule)
    return replace(
        dataset, label_rule=replace(rule, numbers=numbers_of_names([""], dataset.labels))
    )


def _as_recorded(
    dataset: ScanDataset, threshold: float | None, merge: bool, datalist: Mapping[str, Any]
) -> ScanDataset:
    """Take rule and names of labels from a split, which options cannot change."""
    rule = recorded_rule(datalist)
    if threshold not in (None, rule.threshold) or (merge and not rule.merge):
        raise ConfigError(
            f"--label_threshold {threshold}, --merge_masks {merge}; the datalist was split with "
            f"{rule.threshold}, {rule.merge}",
            expected="one rule for split, plan, training and evaluation",
            remedy="leave the options out, or split with them",
        )
    labels, _ = read_labels(datalist.get("labels") or {})
    return replace(dataset, label_rule=rule, labels=labels or dataset.labels)


def _with_segments(dataset: ScanDataset) -> ScanDataset:
    """Number the segments that label files name; undeclared ones fail their case."""
    paths = {file: dataset.root / file for _, file in _label_files(dataset.cases)}
    found = {file: segments_in(path) for file, path in paths.items() if names_segments(path)}
    if not found:
        return dataset
    numbers = numbers_of_segments(found.values(), dataset.labels)
    labels = dataset.labels or {0: "background", **{n: name for name, n in numbers.items()}}
    return replace(dataset, labels=labels, label_rule=replace(dataset.label_rule, numbers=numbers))


def _with_names(dataset: ScanDataset, rule: LabelRule) -> ScanDataset:
    """Number the labels that binary files are named after."""
    names = {file: label_name(stem_of(file), case.id) for case, file in _label_files(dataset.cases)}
    numbers = numbers_of_names(names.values(), dataset.labels)
    problems = {
        case.id: unnamed_error(file, foreground_of(dataset.labels).values()).reason
        for case, file in _label_files(dataset.cases)
        if names[file] not in numbers
    }
    labels = dataset.labels
    if not labels and any(numbers):
        labels = {0: "background"}
        labels |= {number: name or f"label_{number}" for name, number in numbers.items()}
    return replace(
        dataset,
        cases=[case for case in dataset.cases if case.id not in problems],
        problems={**dataset.problems, **problems},
        labels=labels,
        label_rule=replace(rule, numbers=numbers),
    )


def _label_files(cases: Iterable[DatasetCase]) -> Iterable[tuple[DatasetCase, str]]:
    """Yield every label file with its case."""
    for case in cases:
        yield from ((case, file) for file in files_of(case.label or ()))
