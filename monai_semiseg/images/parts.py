"""What the files of one image are: its channels, if there are several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from monai_semiseg.errors import FormatError, UnsupportedError
from monai_semiseg.images.dicom_objects import (
    DicomPart,
    dicom_parts,
    require_one_series,
    require_other_series,
)
from monai_semiseg.images.formats import (
    Kind,
    broken_link,
    detect_format,
    files_under,
    other_format,
)
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.itk_file import itk_grid, read_itk
from monai_semiseg.images.leftovers import require_image
from monai_semiseg.images.mgh import mgh_grid, read_mgh
from monai_semiseg.images.nifti import nifti_grid, pair_header, read_nifti
from monai_semiseg.images.picture import picture_grid, read_picture
from monai_semiseg.images.seg_nrrd import is_segmentation, read_segmentation
from monai_semiseg.images.volume import Volume

Source: TypeAlias = str | Path | Sequence[str | Path]
_Reader: TypeAlias = Callable[[Path, Sequence[str]], Volume]
_GridReader: TypeAlias = Callable[[Path, Sequence[str]], Grid]
_READ = "NIfTI, NRRD, MetaImage, MGH, DICOM, or a picture (PNG, JPEG, BMP, TIFF)"


def _read_itk(path: Path, channels: Sequence[str]) -> Volume:
    return read_segmentation(path)[0] if is_segmentation(path) else read_itk(path, channels)


_READERS: dict[Kind, tuple[_Reader, _GridReader]] = {  # of the formats that are no pictures
    "nifti": (read_nifti, nifti_grid),
    "mgh": (read_mgh, mgh_grid),
    "itk": (_read_itk, itk_grid),
}


@dataclass(frozen=True)
class FilePart:
    """One file that is not DICOM.

    Attributes:
        path: the file.
        kind: its format.
    """

    path: Path
    kind: Kind

    def read(self, channels: Sequence[str], stack_pages: bool) -> Volume:
        """Read the voxels, see :func:`~monai_semiseg.images.scan.read_scan`.

        Raises:
            InputError: One of its subclasses, if they cannot be read correctly.
        """
        if self.kind == "picture":
            return read_picture(self.path, stack_pages=stack_pages)
        read, _ = _READERS[self.kind]
        return read(self.path, channels)

    def grid(self, channels: Sequence[str], stack_pages: bool) -> Grid:
        """Read the grid from the header, see :func:`~monai_semiseg.images.scan.read_grid`.

        Raises:
            InputError: One of its subclasses, if the header shows that the file cannot be read.
        """
        if self.kind == "picture":
            return picture_grid(self.path, stack_pages=stack_pages)
        _, grid = _READERS[self.kind]
        return grid(self.path, channels)


def parts_of(
    source: Source, *, pixels: bool = True, frames: bool = False
) -> list[FilePart | DicomPart]:
    """Return the parts of an image, in the order of first appearance.

    The files of one DICOM series are one part, and so is a folder with one series, and each other
    file.

    Args:
        source: file, folder or list.
        pixels: read DICOM files whole, so that reading the parts parses none a second time.
        frames: take the frames of a DICOM cine for 2-D images.

    Raises:
        FormatError: If a file is not there, or is no image.
        InputError: One of the other subclasses, if DICOM files form no series.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    order = {path: number for number, path in reversed(list(enumerate(paths)))}
    found: dict[int, FilePart | DicomPart] = {}
    dicom: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FormatError(broken_link(path) or "does not exist", expected="a scan", path=path)
        if path.is_dir():
            inside = dicom_parts(list(files_under(path)), path, pixels=pixels, frames=frames)
            require_one_series(inside, path)
            found[order[path]] = inside[0]
        elif (kind := _kind(path)) == "dicom":
            dicom.append(path)
        else:
            found[order[path]] = FilePart(pair_header(path), kind)
    if dicom:
        series = dicom_parts(dicom, dicom[0], pixels=pixels, frames=frames)
        require_other_series(series, dicom[0])
        found |= {min(order[header.path] for header in part.headers): part for part in series}
    return [found[first] for first in sorted(found)]


def _kind(path: Path) -> Kind:
    """Return a file's format; ``dicom`` also for files of no other format, which may be old DICOM.

    Raises:
        FormatError: If the file is no image.
        UnsupportedError: If it is of a known format that is not read.
    """
    kind = detect_format(path)
    if kind and kind != "zip":
        return kind
    if pair_header(path) != path:
        return "nifti"
    if other := other_format(path):
        raise UnsupportedError(
            f"{other}, which is not read",
            expected=_READ,
            remedy="convert it to .nii.gz",
            path=path,
        )
    require_image(path, _READ)
    return "dicom"
