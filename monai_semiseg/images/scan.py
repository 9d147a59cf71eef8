"""Reading of one scan of any format, or of its grid alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_semiseg.errors import FormatError, UnsupportedError
from monai_semiseg.images.dicom_header import DicomHeader, read_header
from monai_semiseg.images.dicom_kinds import skip_reason
from monai_semiseg.images.dicom_seg_label import is_segmentation_file, read_segmentation
from monai_semiseg.images.dicom_series import group_series
from monai_semiseg.images.dicom_volume import read_series, require_one_series, stack
from monai_semiseg.images.formats import (
    broken_link,
    detect_format,
    files_under,
    other_format,
    picture_kind,
)
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.itk_file import read_itk
from monai_semiseg.images.nifti import nifti_grid, read_nifti
from monai_semiseg.images.volume import (
    Volume,
    check_affine,
    check_constant,
    check_field_of_view,
    check_finite,
)


def read_scan(
    source: str | Path | Sequence[str | Path], *, nonfinite: float | None = None
) -> Volume:
    """Read a file, a folder with one DICOM series, or the files of one DICOM series.

    Args:
        source: file, folder, or files of one series.
        nonfinite: value that replaces NaN and Inf voxels; None refuses them.

    Raises:
        InputError: One of its subclasses, if the scan cannot be read correctly.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    first = paths[0]
    if not first.exists():
        raise FormatError(broken_link(first) or "does not exist", expected="a scan", path=first)
    if len(paths) > 1 or first.is_dir():
        volume = _read_dicom(list(files_under(first)) if first.is_dir() else paths, first)
    else:
        volume = _read_file(first)
    check_field_of_view(volume, first)
    check_finite(volume, first, nonfinite)
    check_constant(volume, first)
    return volume


def read_grid(source: str | Path) -> Grid:
    """Read a scan's grid; of NIfTI files and DICOM slices only the headers are read.

    Raises:
        InputError: If the headers show that the scan cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        headers = _one_series(list(files_under(path)), path)
        if headers[0].frames == 1:
            ordered, affine = stack(headers)
            rows, columns = headers[0].size
            return Grid((columns, rows, len(ordered)), check_affine(affine, path))
    elif path.exists() and detect_format(path) == "nifti":
        return nifti_grid(path)
    return read_scan(path).grid


def _read_file(path: Path) -> Volume:
    kind = detect_format(path)
    if kind == "nifti":
        return read_nifti(path)
    if kind == "itk":
        return read_itk(path)
    if picture := picture_kind(path):
        raise FormatError(
            f"a {picture} picture", expected="a 3-D scan; 2-D images are not read yet", path=path
        )
    if other := other_format(path):
        raise UnsupportedError(
            f"{other}, which is not read",
            expected="NIfTI, NRRD, MetaImage or DICOM",
            remedy="convert it to .nii.gz",
            path=path,
        )
    return _read_dicom([path], path)


def _read_dicom(files: Sequence[Path], path: Path) -> Volume:
    if len(files) == 1 and is_segmentation_file(files[0]):
        return read_segmentation(files[0])
    return read_series(_one_series(files, path))


def _one_series(files: Sequence[Path], path: Path) -> Sequence[DicomHeader]:
    headers = [header for file in files if (header := read_header(file)) is not None]
    scans = [header for header in headers if not skip_reason(header)]
    if not scans:
        reason = next(
            (skip_reason(header) for header in headers), "no image in a format that is read here"
        )
        raise FormatError(reason, expected="NIfTI, NRRD, MetaImage or a DICOM series", path=path)
    series = group_series(scans)
    faults = [one.fault for one in series if one.fault is not None]
    if faults and len(faults) == len(series):
        raise faults[0]
    require_one_series(series, path)
    return series[0].headers
