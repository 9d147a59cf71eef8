"""Masks that came back from a labeller: which file is of which task, and what it holds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.case_names import has_image_suffix, stem_of
from monai_semiseg.datasets.label_checks import count_values, require_values
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_names import KIND_OF_FILE
from monai_semiseg.datasets.label_rules import LabelRule, checked_colours
from monai_semiseg.datasets.label_segments import names_segments, renumbered
from monai_semiseg.errors import InputError, LabelError
from monai_semiseg.export.label_description import LABELMAP, read_labelmap
from monai_semiseg.images import dicom_seg_label, seg_nrrd
from monai_semiseg.images.dicom_header import begins_as_dicom
from monai_semiseg.images.formats import files_under, picture_kind
from monai_semiseg.images.grid import Grid, onto_grid
from monai_semiseg.images.itk_file import itk_metadata
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import PARTIAL_FORMAT, Volume
from monai_semiseg.labelling.tasks import (
    MANIFEST,
    PROPOSALS,
    Task,
    TaskFolder,
    hash_of_voxels,
)
from monai_semiseg.storage.files import sha256_of

LABELS = "labels"  # label files that collect wrote
COLLECTED = "collected"  # a record for each of them
_OURS = (PROPOSALS, LABELS, COLLECTED)
_KIND_AT_END = re.compile(rf"[ _.\-()]+(?:{KIND_OF_FILE.pattern})\)?$", re.I)
_INSTANCES = "SegmentationObject"  # CVAT's second export, a colour for each object
_OFFSET = "Segmentation_ReferenceImageExtentOffset"


@dataclass(frozen=True)
class Mask:
    """A mask that came back, on the grid of its image.

    Attributes:
        path: the file.
        array: label numbers ``(i, j, k)`` of the dataset.
        voxels: :func:`~monai_semiseg.labelling.tasks.hash_of_voxels` of it.
    """

    path: Path
    array: NDArray[np.int32]
    voxels: str


@dataclass
class ReturnedFiles:
    """Files that came back.

    Attributes:
        root: folder that was searched.
        by_task: name of a task -> its files.
        foreign: file -> reason why it is of no task.
    """

    root: Path
    by_task: dict[str, list[Path]] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)


def find_returned(tasks: TaskFolder, root: Path) -> ReturnedFiles:
    """Find the masks of the tasks below a folder, and files that look like masks and are of none.

    A DICOM SEG belongs to the series that it refers to. Any other file, and a SEG of a series with
    several cases (echoes), belongs to the task that it is named after (``NAME``, ``NAME_seg``,
    ``NAME-label``), or in whose folder it lies. Images of the tasks, what ``propose`` and
    ``collect`` wrote, and other files are passed over.

    Args:
        tasks: what was handed out.
        root: folder of the tasks, or another one.
    """
    found = ReturnedFiles(root)
    images = {digest for task in tasks.tasks for digest in task.images.values()}
    by_name = {task.name.casefold(): task for task in tasks.tasks}
    by_series: dict[str, list[Task]] = defaultdict(list)
    for one in (task for task in tasks.tasks if task.series_uid):
        by_series[one.series_uid].append(one)
    copies = {tasks.folder / file for task in tasks.tasks for file in task.images}
    for file in _candidates(root):
        try:
            is_dicom = begins_as_dicom(file)
            if is_dicom and file in copies:
                continue  # a slice
            if is_dicom and not dicom_seg_label.is_segmentation_file(file):
                continue
            if not is_dicom and not has_image_suffix(file.name):
                continue
            if sha256_of(file) in images:
                continue
            series = dicom_seg_label.read_segments(file).series_uid if is_dicom else ""
        except (InputError, OSError) as error:
            series = ""
            if _task_of(file, root, by_name) is None:
                reason = error.reason if isinstance(error, InputError) else str(error)
                found.foreign[str(file)] = reason
                continue
        task = _task_of(file, root, by_name)
        owners = by_series.get(series, [])
        if series and task not in owners:
            task = owners[0] if len(owners) == 1 else None
        if task is None:
            which = (
                f"of a series with {len(owners)} cases, and neither name nor folder says which"
                if len(owners) > 1
                else "of no case that was handed out"
            )
            found.foreign[str(file)] = f"{file}: {which}"
        else:
            found.by_task.setdefault(task.name, []).append(file)
    return found


def _candidates(root: Path) -> Iterator[Path]:
    ours = _OURS if (root / MANIFEST).is_file() else ()
    for file in files_under(root):
        parts = file.relative_to(root).parts
        if file.is_file() and parts[0] not in ours and _INSTANCES not in parts[:-1]:
            yield file


def _task_of(file: Path, root: Path, by_name: Mapping[str, Task]) -> Task | None:
    """Return the task that a file is named after, or in whose folder it lies."""
    above = reversed(file.relative_to(root).parts[:-1])
    names = [*_stems(stem_of(file)), *above]
    return next((by_name[name.casefold()] for name in names if name.casefold() in by_name), None)


def _stems(stem: str) -> Iterator[str]:
    """Yield a name, then the same without the words at its end that say what kind of file it is."""
    yield stem
    while found := _KIND_AT_END.search(stem):
        stem = stem[: found.start()]
        yield stem


def read_mask(path: Path, names: Mapping[int, str], image: Grid) -> Mask:
    """Read a mask of any program onto the grid of its image.

    ``.seg.nrrd`` and DICOM SEG name their segments, whose numbers do not count; a coloured picture
    is read by the ``labelmap.txt`` beside or above it. All other files hold label numbers.

    Args:
        path: the file.
        names: number in the dataset -> name, ``background`` and ``ignore`` included.
        image: grid of the image.

    Raises:
        LabelError: If a label is unknown, or segments overlap.
        GeometryError: If the mask is not on the image's grid.
        InputError: If the file is damaged.
    """
    volume = _read(path, names)
    require_values(count_values(volume.array), names, path)
    array = onto_grid(volume.array, volume.grid, image, path).astype(np.int32)
    return Mask(path, array, hash_of_voxels(array))


def changed_mask(masks: Sequence[Mask], task: Task) -> Mask:
    """Return the mask of a task that somebody changed, else the proposal.

    Raises:
        LabelError: If several masks were changed, and they differ.
    """
    changed = {mask.voxels: mask for mask in masks if mask.voxels != task.voxels}
    if len(changed) > 1:
        names = ", ".join(mask.path.name for mask in changed.values())
        raise LabelError(
            f"several masks of {task.id} that differ: {names}",
            expected="one mask for each case",
            remedy="keep one of them",
            path=masks[0].path.parent,
        )
    return next(iter(changed.values()), masks[0])


def _read(path: Path, names: Mapping[int, str]) -> Volume:
    if names_segments(path):
        volume, segments = seg_nrrd.read_segmentation(path)
        found = _by_name(volume, segments, names, path)
        return replace(found, meta={**found.meta, "format": _format_of(path)})
    if dicom_seg_label.is_segmentation_file(path):
        segments = dicom_seg_label.read_segments(path).names
        return _by_name(dicom_seg_label.read_segmentation(path), segments, names, path)
    labelmap = _labelmap(path) if picture_kind(path) else None
    if labelmap is not None and _is_in_colours(path, read_labelmap(labelmap).values()):
        return _by_colour(path, labelmap, names)
    return read_label(path)


def _format_of(path: Path) -> str:
    """Return the format of a ``.seg.nrrd``: 3D Slicer may write the part with segments alone."""
    offset = itk_metadata(path).get(_OFFSET, "0 0 0").split()
    return "nrrd" if set(offset) <= {"0"} else PARTIAL_FORMAT


def _by_name(
    volume: Volume, segments: Mapping[int, str], names: Mapping[int, str], path: Path
) -> Volume:
    """Give segments the numbers of the labels of their names, whatever the case of the letters."""
    numbers = {name.strip().casefold(): number for number, name in names.items()}
    known = {
        name: numbers[name.strip().casefold()]
        for name in segments.values()
        if name.strip().casefold() in numbers
    }
    return renumbered(volume, segments, known, path)


def _labelmap(path: Path) -> Path | None:
    """Return the list of colours beside a picture, or above it as in CVAT's archives."""
    folders = (path.parent, path.parent.parent)
    return next((one / LABELMAP for one in folders if (one / LABELMAP).is_file()), None)


def _is_in_colours(path: Path, colours: Collection[str]) -> bool:
    """Return False for numbers, also if an editor saved them as red, green and blue alike."""
    volume = read_scan(path)
    if not volume.channels:
        return False
    if np.ptp(volume.array, axis=-1).any():
        return True
    levels = map(int, np.unique(volume.array))
    return all(f"#{level:02x}{level:02x}{level:02x}" in colours for level in levels)


def _by_colour(path: Path, labelmap: Path, names: Mapping[int, str]) -> Volume:
    """Read a picture by the colours of a list."""
    rule = LabelRule(colours=checked_colours(read_labelmap(labelmap)))
    volume = read_label(path, rule)
    present = set(np.unique(volume.array).tolist())
    segments = {n: name for n, name in rule.colour_names.items() if n in present and n > 0}
    return _by_name(volume, segments, names, path)
