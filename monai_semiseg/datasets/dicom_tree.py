"""Trees of DICOM files as a data set: series by header, labels as DICOM SEG or NIfTI."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from monai_semiseg.datasets.case_names import CaseNames, stem_of, without_suffix
from monai_semiseg.datasets.cases import Case, Row, Skipped
from monai_semiseg.datasets.dicom_cases import dicom_rows
from monai_semiseg.datasets.folder_pairs import mask_stem
from monai_semiseg.datasets.layout import (
    LABEL_ALONE,
    Files,
    Layout,
    ListedCase,
    Wanted,
    one_or_several,
)
from monai_semiseg.errors import DicomError, LabelError
from monai_semiseg.images.dicom_header import (
    PARSING_ERRORS,
    DicomHeader,
    begins_as_dicom,
    read_header,
    values_unquoted,
)
from monai_semiseg.images.dicom_kinds import skip_reason
from monai_semiseg.images.dicom_seg_label import Segments, is_segmentation, read_segments
from monai_semiseg.images.formats import detect_format, files_under

_LOOKED_AT = 200  # files, to find out if a folder holds DICOM


@dataclass
class _Tree:
    """Files of a tree by what they are."""

    headers: list[DicomHeader] = field(default_factory=list)
    damaged: dict[Path, DicomError] = field(default_factory=dict)
    segmentations: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Series:
    """A series with what pairs it: its study and images, and words that describe it."""

    case: Case
    study: str
    uid: str
    images: frozenset[str]
    description: str
    group: str


def holds_dicom(root: Path) -> bool:
    """Return True if one of the first files below a folder is DICOM."""
    for number, file in enumerate(files_under(root)):
        if number >= _LOOKED_AT:
            break
        if file.is_file() and begins_as_dicom(file):
            return True
    return False


def read_dicom_tree(root: Path, wanted: Wanted) -> Layout:
    """List every series as a case, or every study if the user names channels.

    A label is a DICOM SEG that refers to the series, or a NIfTI file with the name of the series'
    folder or file. The group is a hash of the PatientID, which is not kept.
    """
    tree = _inspect(root)
    layout = Layout()
    series = _all_series(root, tree, layout)
    labels = _labels(root, tree, series, layout)
    if wanted.channels:
        layout.cases = _studies(root, series, labels, wanted, layout)
        layout.channel_names = tuple(wanted.channels)
        return layout
    layout.cases = [
        ListedCase(one.case.id, {"": _files(root, one.case)}, labels.get(one.case.id), one.group)
        for one in series
    ]
    return layout


def _inspect(root: Path) -> _Tree:
    tree = _Tree()
    for file in files_under(root):
        if not file.is_file() or file.name == "DICOMDIR":
            continue
        if detect_format(file) in ("nifti", "itk"):
            tree.masks.append(file)
            continue
        try:
            header = read_header(file)
        except DicomError as error:
            tree.damaged[file] = error
            continue
        if header is None:
            continue
        if is_segmentation(header.sop_class):
            tree.segmentations.append(file)
        elif not skip_reason(header):
            tree.headers.append(header)
    return tree


def _all_series(root: Path, tree: _Tree, layout: Layout) -> list[_Series]:
    names = CaseNames(many_roots=False)
    rows: list[Row] = dicom_rows(root, root, root.resolve().name, tree.headers, tree.damaged)
    headers = {header.path: header for header in tree.headers}
    found = []
    for _, name, row in rows:
        if isinstance(row, Skipped):
            continue
        case = Case(names.new_id(root, name), row.files, row.source, row.kind, row.modality)
        if row.fault is not None:
            layout.problems[case.id] = row.fault.reason
            continue
        first = headers[row.files[0]]
        images = frozenset(headers[file].sop_uid for file in row.files)
        facts = _facts(first.path)
        found.append(_Series(case, first.study_uid, first.series_uid, images, *facts))
    return found


def _facts(file: Path) -> tuple[str, str]:
    """Return the description of a file's series, and a hash of its patient; or empty texts."""
    tags = ["SeriesDescription", "PatientID"]
    try:
        with values_unquoted():
            found = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
            description = str(found.get("SeriesDescription", "") or "")
            patient = str(found.get("PatientID", "") or "").strip()
    except PARSING_ERRORS:
        return "", ""
    return description, hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else ""


def _files(root: Path, case: Case) -> Files:
    """Return a series' folder if it holds nothing else, else its files."""
    folders = {file.parent for file in case.files}
    if len(case.files) > 1 and len(folders) == 1 and folders != {root}:
        (folder,) = folders
        if set(files_under(folder)) == set(case.files):
            return folder.relative_to(root).as_posix()
    return one_or_several([file.relative_to(root).as_posix() for file in case.files])


def _labels(root: Path, tree: _Tree, series: Sequence[_Series], layout: Layout) -> dict[str, Files]:
    """Return case -> its label; note labels that belong to no series."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in tree.segmentations:
        try:
            segments = read_segments(file)
        except (DicomError, LabelError) as error:
            layout.problems[file.relative_to(root).as_posix()] = error.reason
            continue
        owners = _referred(segments, series)
        if owners and not _same_names(segments.names, layout.labels):
            text = f"segments {segments.names}, other files have {layout.labels}"
            layout.problems[file.relative_to(root).as_posix()] = text
            continue
        layout.labels |= segments.names if owners else {}
        _assign(root, file, owners, found, layout)
    for file in tree.masks:
        _assign(root, file, _of_same_stem(file, series), found, layout)
    if layout.labels:
        layout.labels = {0: "background", **layout.labels}
    return {
        case: one_or_several([file.relative_to(root).as_posix() for file in files])
        for case, files in found.items()
    }


def _same_names(names: Mapping[int, str], known: Mapping[int, str]) -> bool:
    return all(known.get(number, name) == name for number, name in names.items())


def _referred(segments: Segments, series: Sequence[_Series]) -> list[_Series]:
    """Return the series that a segmentation refers to."""
    owners = [one for one in series if one.uid == segments.series_uid]
    if len(owners) < 2:
        return owners
    # Several volumes of one series (echoes): the one whose images are named, all or some.
    return [one for one in owners if not one.images.isdisjoint(segments.instances)]


def _of_same_stem(file: Path, series: Sequence[_Series]) -> list[_Series]:
    """Return the series whose folder or file has the name of a mask; the nearest if several do."""
    stem = stem_of(file)
    names = {stem, mask_stem(stem)}
    owners = [one for one in series if names & {path.name for path in _places(one)}]
    beside = [one for one in owners if any(path.parent == file.parent for path in _places(one))]
    return beside or owners


def _places(series: _Series) -> list[Path]:
    """Return a series' folder, and its file without suffix if it is one file."""
    source = series.case.source
    return [without_suffix(source), source.parent] if len(series.case.files) == 1 else [source]


def _assign(
    root: Path,
    file: Path,
    owners: Sequence[_Series],
    found: dict[str, list[Path]],
    layout: Layout,
) -> None:
    if len(owners) == 1:
        found[owners[0].case.id].append(file)
        return
    text = f"a label that fits {len(owners)} series" if owners else LABEL_ALONE
    layout.problems[file.relative_to(root).as_posix()] = text


def _studies(
    root: Path,
    series: Sequence[_Series],
    labels: Mapping[str, Files],
    wanted: Wanted,
    layout: Layout,
) -> list[ListedCase]:
    """Return one case for each study, with the series that the channels' patterns find."""
    by_study: dict[str, list[_Series]] = defaultdict(list)
    for one in series:
        by_study[one.study].append(one)
    cases = []
    for members in by_study.values():
        case = _study_name(root, members)
        images: dict[str, Files] = {}
        label: Files | None = None
        for name, pattern in wanted.channels.items():
            found = [one for one in members if _describes(one, name, pattern)]
            if len(found) > 1:
                ids = ", ".join(one.case.id for one in found)
                layout.problems[case] = f"{len(found)} series match channel {name}: {ids}"
            for one in found[:1]:
                images[name] = _files(root, one.case)
                label = label or labels.get(one.case.id)
        if case not in layout.problems:
            cases.append(ListedCase(case, images, label, members[0].group))
    return cases


def _study_name(root: Path, members: Sequence[_Series]) -> str:
    """Return the deepest folder that holds all series of a study, below the data set's."""
    parents = [set(one.case.source.parents) for one in members]
    folder = max(set.intersection(*parents), key=lambda path: len(path.parts))
    name = folder.relative_to(root).as_posix()
    return root.resolve().name if name == "." else name


def _describes(series: _Series, name: str, pattern: str) -> bool:
    """Return True if a series is a channel: by the pattern, or by the name as a word."""
    word = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
    return re.search(pattern or word, series.description, re.IGNORECASE) is not None
