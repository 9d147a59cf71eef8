"""DICOM files as series, each file parsed once: header and pixels together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom

from monai_semiseg.errors import DicomError, FormatError
from monai_semiseg.images.dicom_header import DicomHeader, read_header, read_object
from monai_semiseg.images.dicom_image import read_image
from monai_semiseg.images.dicom_kinds import beside_scans, is_single, skip_reason, unsupported_error
from monai_semiseg.images.dicom_series import group_series
from monai_semiseg.images.dicom_volume import read_series, series_grid
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.volume import Volume
from monai_semiseg.storage.files import available_memory

_KEPT = 0.25  # of the free memory, for objects that wait until their pixels are decoded


@dataclass(frozen=True)
class DicomPart:
    """One series: a volume, or a 2-D image.

    Attributes:
        path: path to show to the user.
        headers: headers of its files.
        parsed: objects that were read with their headers, by path.
    """

    path: Path
    headers: Sequence[DicomHeader]
    parsed: dict[Path, pydicom.Dataset]

    def read(self, frame: int | None = None) -> Volume:
        """Read the voxels.

        Args:
            frame: number of the one frame to read as a 2-D image, from 0.

        Raises:
            InputError: One of its subclasses, if they cannot be read correctly.
        """
        first = self.headers[0]
        if frame is not None:
            return read_image(first, self.parsed.pop(first.path, None), frame)
        return read_series(self.headers, self.parsed)

    def grid(self) -> Grid:
        """Return the grid by the headers.

        Raises:
            InputError: One of its subclasses, if they show that the series cannot be read.
        """
        return series_grid(self.headers)


def dicom_parts(
    files: Sequence[Path], path: Path, *, pixels: bool = True, frames: bool = False
) -> list[DicomPart]:
    """Return the series of DICOM files, in the order of their first files.

    Objects that are no image are passed over, and so are files that are not DICOM.

    Args:
        files: the files.
        path: the folder or the file that the user named, for errors.
        pixels: read whole files, so that reading the parts parses none a second time.
        frames: take the frames of a cine, which are no volume, for 2-D images.

    Raises:
        FormatError: If there is no image.
        InputError: The fault of a series, if there is no sound one.
    """
    headers, parsed = _objects(files, pixels)
    scans = [header for header in headers if not skip_reason(header)]
    if not scans:
        reason = next(
            (skip_reason(header) for header in headers), "no image in a format that is read here"
        )
        raise FormatError(reason, expected="an image, or a DICOM series", path=path)
    screenshots = beside_scans(scans)
    series = group_series(header for header in scans if header.path not in screenshots)
    if frames:
        series = [replace(one, fault=None) if has_frames(one.headers[0]) else one for one in series]
    faults = [one.fault for one in series if one.fault is not None]
    if faults and (len(faults) == len(series) or not path.is_dir()):
        raise faults[0]
    order = {file: number for number, file in enumerate(files)}
    series.sort(key=lambda one: min(order[header.path] for header in one.headers))
    alone = len(series) == 1
    return [
        DicomPart(path if alone else one.headers[0].path, one.headers, parsed) for one in series
    ]


def require_one_series(series: Sequence[object], path: Path) -> None:
    """Require a folder with exactly one series.

    Raises:
        DicomError: Unless there is exactly one.
    """
    if len(series) != 1:
        raise DicomError(
            f"{len(series)} DICOM series in one folder",
            expected="one series, or an explicit list of its files",
            remedy="let monai-semiseg list the series (check, predict), or sort them into folders",
            path=path,
        )


def require_other_series(parts: Sequence[DicomPart], path: Path) -> None:
    """Require that parts that are to be channels are not volumes of one series.

    Raises:
        DicomError: If two of them are.
    """
    seen: set[str] = set()
    for part in parts:
        first = part.headers[0]
        if first.series_uid in seen and not is_single(first):
            raise DicomError(
                "several volumes of one DICOM series (echoes, time points) among the files",
                expected="the files of one volume, or of one series for each channel",
                remedy="let monai-semiseg list the volumes (check, predict)",
                path=path,
            )
        seen.add(first.series_uid)


def _objects(
    files: Sequence[Path], pixels: bool
) -> tuple[list[DicomHeader], dict[Path, pydicom.Dataset]]:
    """Return the headers, and the whole objects if they are wanted and fit into memory."""
    keep = pixels and sum(file.stat().st_size for file in files) <= _KEPT * available_memory()
    headers: list[DicomHeader] = []
    parsed: dict[Path, pydicom.Dataset] = {}
    for file in files:
        found = read_object(file) if keep else (read_header(file), None)
        if found is None or found[0] is None:
            continue
        headers.append(found[0])
        if found[1] is not None:
            parsed[file] = found[1]
    return headers, parsed


def has_frames(header: DicomHeader) -> bool:
    """Return True if nothing but the number of its frames keeps an object from being read."""
    return header.frames > 1 and unsupported_error(replace(header, frames=1)) is None
