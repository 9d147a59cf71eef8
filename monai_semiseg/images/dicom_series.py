"""DICOM files -> series: one case for every volume, and a reason for every file that is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_semiseg.errors import DuplicateError, InputError
from monai_semiseg.images.dicom_header import DicomHeader
from monai_semiseg.images.dicom_kinds import is_single, why_not_read
from monai_semiseg.images.dicom_volumes import each_spans_the_whole, split_volumes
from monai_semiseg.storage.files import sha256_of


@dataclass(frozen=True)
class Series:
    """The files of one DICOM volume, not yet in spatial order.

    Attributes:
        headers: one per file.
        label: what tells this volume from others of the same SeriesInstanceUID; empty if it is the
            only one.
        fault: why the files cannot be one volume, if so.
    """

    headers: tuple[DicomHeader, ...]
    label: str = ""
    fault: InputError | None = None

    @property
    def folder(self) -> Path:
        """The deepest folder that holds every file."""
        parents = [set(header.path.parents) for header in self.headers]
        return max(set.intersection(*parents), key=lambda folder: len(folder.parts))


def group_series(headers: Iterable[DicomHeader]) -> list[Series]:
    """Group headers into volumes by SeriesInstanceUID, never merging two series.

    A series whose slices lie in several folders is one per folder if every folder holds the whole
    (a series that was copied, an echo in each), else one over all. Several volumes in one series
    (echoes, time points) come apart by :func:`split_volumes`.
    """
    by_uid: dict[tuple[str, str], list[DicomHeader]] = defaultdict(list)
    for header in headers:
        by_uid[header.study_uid, header.series_uid].append(header)
    found = [part for members in by_uid.values() for part in _by_folder(members)]
    return sorted(
        found,
        key=lambda s: (
            str(s.folder),
            s.headers[0].series_number,
            s.headers[0].series_uid,
            int(s.label or 0),
            str(s.headers[0].path),
        ),
    )


def _by_folder(members: list[DicomHeader]) -> list[Series]:
    folders: dict[Path, list[DicomHeader]] = defaultdict(list)
    for header in members:
        folders[header.path.parent].append(header)
    groups = list(folders.values())
    copies = len({frozenset(header.sop_uid for header in group) for group in groups}) == 1
    if not copies and not each_spans_the_whole(groups):
        groups = [members]
    return [series for group in groups for series in _in_one_place(group)]


def _in_one_place(members: list[DicomHeader]) -> list[Series]:
    """The series of one folder; an object of several frames is one alone, and so is a picture."""
    headers, fault = _without_copies(sorted(members, key=lambda header: str(header.path)))
    alone = [header for header in headers if header.frames > 1 or is_single(header)]
    slices = [header for header in headers if not (header.frames > 1 or is_single(header))]
    found = [Series((header,), "", fault or why_not_read(header)) for header in alone]
    return found + (_of_slices(slices, fault) if slices else [])


def _of_slices(headers: list[DicomHeader], fault: InputError | None) -> list[Series]:
    """Split slices into volumes; those that cannot be are one series with the reason."""
    refused = (why_not_read(header) for header in headers)
    fault = fault or next((reason for reason in refused if reason is not None), None)
    if fault is None:
        try:
            volumes = split_volumes(headers)
        except InputError as error:
            fault = error
    if fault is not None:
        return [Series(tuple(headers), "", fault)]
    many = len(volumes) > 1
    return [Series(tuple(v), str(n) if many else "") for n, v in enumerate(volumes, 1)]


def _without_copies(headers: Sequence[DicomHeader]) -> tuple[list[DicomHeader], InputError | None]:
    """Drop byte-identical copies; the same SOPInstanceUID with other bytes is a fault."""
    kept: dict[str, DicomHeader] = {}
    for header in headers:
        first = kept.setdefault(header.sop_uid or str(header.path), header)
        if first is not header and sha256_of(first.path) != sha256_of(header.path):
            return list(headers), DuplicateError(
                f"same SOPInstanceUID as {first.path.name}, other content",
                expected="every instance once",
                remedy="remove the wrong copy",
                path=header.path,
            )
    return list(kept.values()), None
