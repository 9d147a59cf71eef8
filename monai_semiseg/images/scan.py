"""Read one scan of any format, or refuse it with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_semiseg.errors import FormatError
from monai_semiseg.images.dicom_header import read_header
from monai_semiseg.images.dicom_kinds import why_no_scan
from monai_semiseg.images.dicom_series import group_series
from monai_semiseg.images.dicom_volume import read_series, require_one
from monai_semiseg.images.formats import files_under, sniff
from monai_semiseg.images.itk_file import read_itk
from monai_semiseg.images.nifti import read_nifti
from monai_semiseg.images.volume import Volume, check_constant, check_field_of_view, check_finite


def read_scan(
    source: str | Path | Sequence[str | Path], *, nonfinite: float | None = None
) -> Volume:
    """Read a file, a folder with one DICOM series, or the files of one DICOM series.

    Args:
        source: what to read.
        nonfinite: value that replaces NaN and Inf voxels; None refuses them.

    Raises:
        InputError: One of its kinds, naming the file, what was found, what was expected and what to
            do.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    first = paths[0]
    if not first.exists():
        raise FormatError("does not exist", expected="a scan", path=first)
    if len(paths) > 1 or first.is_dir():
        volume = _read_dicom(list(files_under(first)) if first.is_dir() else paths, first)
    else:
        volume = _read_file(first)
    check_field_of_view(volume, first)
    check_finite(volume, first, nonfinite)
    check_constant(volume, first)
    return volume


def _read_file(path: Path) -> Volume:
    kind = sniff(path)
    if kind == "nifti":
        return read_nifti(path)
    if kind == "itk":
        return read_itk(path)
    return _read_dicom([path], path)


def _read_dicom(files: Sequence[Path], path: Path) -> Volume:
    headers = [header for file in files if (header := read_header(file)) is not None]
    scans = [header for header in headers if not why_no_scan(header)]
    if not scans:
        reason = next(
            (why_no_scan(header) for header in headers), "no image in a format that is read here"
        )
        raise FormatError(reason, expected="NIfTI, NRRD, MetaImage or a DICOM series", path=path)
    series = group_series(scans)
    faults = [one.fault for one in series if one.fault is not None]
    if faults and len(faults) == len(series):
        raise faults[0]
    require_one(series, path)
    return read_series(series[0].headers)
