"""Cases from the DICOM files of one folder tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from monai_semiseg.datasets.case_names import without_suffix
from monai_semiseg.datasets.cases import Case, Row, Skipped
from monai_semiseg.errors import DicomError, InputError, UnsupportedError
from monai_semiseg.images.dicom_header import DicomHeader
from monai_semiseg.images.dicom_kinds import beside_scans
from monai_semiseg.images.dicom_objects import has_frames
from monai_semiseg.images.dicom_series import Series, group_series


def dicom_rows(
    root: Path,
    base: Path,
    title: str,
    headers: Sequence[DicomHeader],
    damaged: Mapping[Path, DicomError],
    *,
    each_frame: bool = False,
) -> list[Row]:
    """Return one row for each series, and one for each damaged file in a folder without series.

    Args:
        root: input that the user named.
        base: folder that was searched: ``root``, or the folder of an unpacked archive.
        title: name for series in ``base`` itself.
        headers: headers of all files that may be part of a scan.
        damaged: file -> error, of files with a damaged header.
        each_frame: take every frame of a cine for a 2-D image.
    """
    by_folder: dict[Path, list[Series]] = {}
    screenshots = beside_scans(headers)
    for series in group_series(one for one in headers if one.path not in screenshots):
        by_folder.setdefault(series.folder, []).append(series)
    rows: list[Row] = [(root, file, Skipped(file, reason)) for file, reason in screenshots.items()]
    used: set[Path] = set()
    for folder, members in by_folder.items():
        for number, series in enumerate(members, 1):
            parents = {header.path.parent for header in series.headers}
            used |= parents
            error = _error_nearby(parents, damaged)
            name = _series_name(base, title, folder, series, number if len(members) > 1 else 0)
            case = _series_case(folder, series, error)
            if each_frame and has_frames(series.headers[0]):
                rows += _frame_rows(root, name, case, series.headers[0].frames)
            else:
                rows.append((root, name, case))
    for file, error in damaged.items():
        if file.parent not in used:
            case = Case("", (file,), file, "dicom", fault=error)
            rows.append((root, without_suffix(file), case))
    return rows


def _frame_rows(root: Path, name: Path, case: Case, count: int) -> list[Row]:
    """Return a row for every frame of a cine."""
    return [
        (root, name / f"frame_{frame + 1:04}", replace(case, fault=None, frame=frame))
        for frame in range(count)
    ]


def _error_nearby(folders: set[Path], damaged: Mapping[Path, DicomError]) -> DicomError | None:
    """Return the error of a damaged file in one of the folders.

    A file with a damaged header belongs to some series of its folder, so no series there is known
    to be complete.
    """
    return next((error for file, error in damaged.items() if file.parent in folders), None)


def _series_case(folder: Path, series: Series, nearby: InputError | None) -> Case:
    files = tuple(header.path for header in series.headers)
    source = folder if len(files) > 1 else files[0]
    unsupported = isinstance(series.fault, UnsupportedError)
    fault = series.fault if unsupported else nearby or series.fault
    return Case("", files, source, "dicom", series.headers[0].modality, fault)


def _series_name(base: Path, title: str, folder: Path, series: Series, number: int) -> Path:
    """Return a name from the file if it holds the whole series, else from the folder.

    ``number`` distinguishes several series of one folder; it is 0 for a single one.
    """
    first = series.headers[0]
    if len(series.headers) == 1 and (base == first.path or first.frames > 1):
        return without_suffix(first.path)
    if not number:
        return folder
    if folder == base:
        return folder / f"{title}_{number}"
    return folder.with_name(f"{folder.name}_{number}")
