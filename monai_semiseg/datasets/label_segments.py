"""Label files that name their segments (``.seg.nrrd``): one number for each name of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from monai_semiseg.datasets.label_values import foreground_of
from monai_semiseg.errors import InputError, LabelError
from monai_semiseg.images.seg_nrrd import read_segmentation, read_segments
from monai_semiseg.images.volume import Volume

_SUFFIX = ".seg.nrrd"


def names_segments(path: str | Path) -> bool:
    """Return True if a label file names its segments, by its suffix."""
    return str(path).lower().endswith(_SUFFIX)


def segments_in(path: Path) -> dict[str, int]:
    """Return name -> number of a file's segments; empty if its header cannot be read."""
    try:
        return {segment.name: segment.number for segment in read_segments(path)}
    except (InputError, OSError):
        return {}  # a check says why


def numbers_of_segments(
    found: Iterable[Mapping[str, int]], labels: Mapping[int, str]
) -> dict[str, int]:
    """Return name -> number in the dataset, for the names of all its files.

    Args:
        found: name -> number of every file.
        labels: declared labels; names that none of them has are left out. Without, a name keeps its
            number if it has the same in all files, else names are numbered in alphabetical order.
    """
    declared = {name.strip().casefold(): number for number, name in foreground_of(labels).items()}
    pairs = {pair for names in found for pair in names.items()}
    names = sorted({name for name, _ in pairs})
    if declared:
        keys = {name: name.strip().casefold() for name in names}
        return {name: declared[key] for name, key in keys.items() if key in declared}
    if len(pairs) == len(names) == len({number for _, number in pairs}):
        return dict(sorted(pairs))
    return {name: number for number, name in enumerate(names, 1)}


def read_segments_by_name(path: Path, numbers: Mapping[str, int]) -> Volume:
    """Read a file of named segments with the numbers of the dataset.

    Args:
        path: the file.
        numbers: name -> number in the dataset; if empty, segments have the file's own numbers.

    Raises:
        LabelError: If a segment's name is not among them, or segments overlap.
        InputError: If the file cannot be read.
    """
    volume, names = read_segmentation(path)
    return renumbered(volume, names, numbers, path) if numbers else volume


def renumbered(
    volume: Volume, names: Mapping[int, str], numbers: Mapping[str, int], path: Path
) -> Volume:
    """Return a map of named segments with the numbers of the dataset.

    Args:
        volume: the map; 0 is outside of all segments.
        names: number in the map -> name of the segment.
        numbers: name -> number in the dataset.
        path: the file, for the error.

    Raises:
        LabelError: If a segment's name is not among them.
    """
    unknown = [name for name in names.values() if name not in numbers]
    if unknown:
        raise LabelError(
            f"undeclared segments {', '.join(unknown)}; declared are {', '.join(numbers)}",
            expected="declared segments only",
            remedy="rename the segment, or declare it in dataset.json",
            path=path,
        )
    lookup = np.zeros(max(names, default=0) + 1, dtype=np.int64)
    for number, name in names.items():
        lookup[number] = numbers[name]
    return replace(volume, array=lookup[volume.array])
