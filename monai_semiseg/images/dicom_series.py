"""DICOM files -> series: one case for every volume, and a reason for every file that is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_semiseg.errors import DuplicateError, InputError, MixedSeriesError
from monai_semiseg.images.dicom_header import DicomHeader
from monai_semiseg.storage.files import sha256_of

_NO_PIXELS = {
    "SR": "structured report",
    "PR": "presentation state",
    "KO": "key object note",
    "RTSTRUCT": "contours",
    "SEG": "segmentation",
    "DOC": "document",
    "REG": "registration",
    "RTPLAN": "treatment plan",
    "RTDOSE": "dose grid",
    "ECG": "waveform",
}


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


def why_no_scan(header: DicomHeader) -> str:
    """The reason why an object is not a scan to segment; empty if it is one."""
    if header.modality in _NO_PIXELS:
        return f"DICOM {header.modality} ({_NO_PIXELS[header.modality]}), not a scan"
    if not header.is_image:
        return f"DICOM {header.modality or 'object'} without pixels"
    if "LOCALIZER" in header.image_type:
        return "localizer"
    if header.samples > 1:
        return "colour image (screenshot or secondary capture)"
    return ""


def group_series(headers: Iterable[DicomHeader]) -> list[Series]:
    """Group headers into volumes by SeriesInstanceUID, never merging two series.

    A series whose slices lie in several folders is one volume if they complement each other, and
    one per folder if they repeat each other (a series that was copied). Two volumes in one series
    (echoes, time points) come apart by the first tag that separates them.
    """
    by_uid: dict[str, list[DicomHeader]] = defaultdict(list)
    for header in headers:
        by_uid[header.series_uid].append(header)
    found = [part for members in by_uid.values() for part in _by_folder(members)]
    return sorted(
        found,
        key=lambda s: (str(s.folder), s.headers[0].series_number, s.headers[0].series_uid, s.label),
    )


def _by_folder(members: list[DicomHeader]) -> list[Series]:
    folders: dict[Path, list[DicomHeader]] = defaultdict(list)
    for header in members:
        folders[header.path.parent].append(header)
    places = [{header.position for header in group} for group in folders.values()]
    complementary = len(set().union(*places)) == sum(map(len, places)) and all(
        () not in place for place in places
    )
    groups = [members] if complementary or len(folders) == 1 else list(folders.values())
    return [series for group in groups for series in _volumes(group)]


def _volumes(members: list[DicomHeader]) -> list[Series]:
    """Split one series of one place into its volumes."""
    headers, fault = _without_copies(sorted(members, key=lambda header: str(header.path)))
    if any(header.frames > 1 for header in headers):
        many = len(headers) > 1
        return [Series((header,), header.path.stem if many else "", fault) for header in headers]
    if fault is None and _repeats(headers):
        for index in range(len(headers[0].dynamic)):
            parts: dict[str, list[DicomHeader]] = defaultdict(list)
            for header in headers:
                parts[header.dynamic[index][1]].append(header)
            if len(parts) > 1 and not any(_repeats(part) for part in parts.values()):
                order = sorted(parts.items(), key=lambda item: (len(item[0]), item[0]))
                return [_checked(part, str(number)) for number, (_, part) in enumerate(order, 1)]
    return [_checked(headers, "", fault)]


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


def _repeats(headers: Sequence[DicomHeader]) -> bool:
    places = [tuple(round(x, 3) for x in header.position) for header in headers]
    return len(set(places)) < len(places) and () not in places


def _checked(headers: Sequence[DicomHeader], label: str, fault: InputError | None = None) -> Series:
    return Series(tuple(headers), label, fault or _mixed(headers))


def _mixed(headers: Sequence[DicomHeader]) -> InputError | None:
    """Slices of one volume share size, spacing and orientation."""
    first = headers[0]
    for header in headers[1:]:
        if header.size != first.size:
            what, a, b = "Rows x Columns", header.size, first.size
        elif not _close(header.orientation, first.orientation, 1e-3):
            what, a, b = "ImageOrientationPatient", header.orientation, first.orientation  # type: ignore[assignment]
        elif not _close(header.spacing, first.spacing, 1e-4):
            what, a, b = "PixelSpacing", header.spacing, first.spacing  # type: ignore[assignment]
        else:
            continue
        return MixedSeriesError(
            f"{what} is {_short(a)}, but {_short(b)} in {first.path.name}",
            expected="one size, spacing and orientation in a series",
            remedy="separate the series by that value, or export it again",
            path=header.path,
        )
    return None


def _close(a: Sequence[float], b: Sequence[float], tolerance: float) -> bool:
    return len(a) == len(b) and all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def _short(values: Sequence[float]) -> str:
    return "\\".join(f"{value:g}" for value in values) or "absent"
