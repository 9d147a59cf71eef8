"""Grouping of DICOM files into series: one case for every volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_semiseg.errors import DuplicateError, InputError
from monai_semiseg.images.dicom_header import DicomHeader
from monai_semiseg.images.dicom_kinds import is_single, unsupported_error
from monai_semiseg.images.dicom_volumes import each_covers_all_positions, split_volumes
from monai_semiseg.storage.files import sha256_of


@dataclass(frozen=True)
class Series:
    """Hold the files of one DICOM volume, not yet in spatial order.

    Attributes:
        headers: one per file.
        label: number of this volume among those of the same SeriesInstanceUID; empty if it is the
            only one.
        fault: error if the files cannot be one volume.
    """

    headers: tuple[DicomHeader, ...]
    label: str = ""
    fault: InputError | None = None

    @property
    def folder(self) -> Path:
        """Return the deepest folder that contains every file."""
        parents = [set(header.path.parents) for header in self.headers]
        return max(set.intersection(*parents), key=lambda folder: len(folder.parts))


def group_series(headers: Iterable[DicomHeader]) -> list[Series]:
    """Group headers into volumes by SeriesInstanceUID, never merging two series.

    A series whose slices are in several folders is one volume per folder if every folder covers the
    whole range (a copied series, or one echo in each folder), else one volume over all folders.
    Several volumes in one series (echoes, time points) are separated by :func:`split_volumes`.
    """
    by_uid: dict[tuple[str, str], list[DicomHeader]] = defaultdict(list)
    for header in headers:
        by_uid[header.study_uid, header.series_uid].append(header)
    found: list[Series] = []
    for members in by_uid.values():
        found += _by_folder(members)
    return sorted(found, key=_sort_key)


def _sort_key(series: Series) -> tuple[str, int, str, int, str]:
    first = series.headers[0]
    return (
        str(series.folder),
        first.series_number,
        first.series_uid,
        int(series.label or 0),
        str(first.path),
    )


def _by_folder(members: list[DicomHeader]) -> list[Series]:
    folders: dict[Path, list[DicomHeader]] = defaultdict(list)
    for header in members:
        folders[header.path.parent].append(header)
    groups = list(folders.values())
    copies = len({frozenset(header.sop_uid for header in group) for group in groups}) == 1
    if not copies and not each_covers_all_positions(groups):
        groups = [members]
    found: list[Series] = []
    for group in groups:
        found += _of_folder(group)
    return found


def _of_folder(members: list[DicomHeader]) -> list[Series]:
    """Return the series of one folder; a multi-frame object or a 2-D image is one by itself."""
    headers, fault = _without_copies(sorted(members, key=lambda header: str(header.path)))
    alone: list[DicomHeader] = []
    slices: list[DicomHeader] = []
    for header in headers:
        (alone if header.frames > 1 or is_single(header) else slices).append(header)
    found = [Series((header,), "", fault or unsupported_error(header)) for header in alone]
    return found + (_of_slices(slices, fault) if slices else [])


def _of_slices(headers: list[DicomHeader], fault: InputError | None) -> list[Series]:
    """Split slices into volumes; if that fails, return one series with the error."""
    refused = (unsupported_error(header) for header in headers)
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
    """Drop byte-identical copies; the same SOPInstanceUID with other bytes is an error."""
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
