"""Reading of NRRD and MetaImage, with checks of length and checksum.

ITK itself fills a truncated file with zeros.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import DtypeError, FormatError, InputError
from monai_semiseg.images.axes import component_names, spatial_and_channels
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.itk_data import check_length, data_layout, is_nrrd
from monai_semiseg.images.leftovers import content_of
from monai_semiseg.images.volume import LPS_TO_RAS, Volume, check_affine, check_size
from monai_semiseg.plain_text import printable

_HEAD = 512
_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
# SimpleITK's names of the types of voxels for which ITK's Python package has no images.
_NOT_IN_ITK = ("8-bit signed integer", "64-bit signed integer")


def read_itk(path: Path, channels: Sequence[str] = ()) -> Volume:
    """Read an NRRD or MetaImage file.

    Vector voxels are channels: red, green, blue if they are three bytes, else numbered.

    SimpleITK reads the header, length and checksum are checked here, and MONAI's ITK reader reads
    the voxels.

    Args:
        path: the file.
        channels: names of the channels that a fourth axis holds.

    Raises:
        InputError: One of its subclasses, if the file is damaged, or not one image of real
            numbers.
    """
    with _plain_name(path) as plain:
        return _read(plain, channels)


@contextmanager
def _plain_name(path: Path) -> Iterator[Path]:
    """Yield the path, or a link to it: ITK cannot open a name with bytes that are not UTF-8."""
    if printable(str(path)) == str(path):
        yield path
        return
    with _linked(path) as link:
        try:
            yield link
        except InputError as error:
            raise type(error)(
                error.found, expected=error.expected, remedy=error.remedy, path=path
            ) from error


@contextmanager
def _linked(path: Path) -> Iterator[Path]:
    """Yield a link with a plain name to the file; a separate data file is linked beside it."""
    with tempfile.TemporaryDirectory(prefix="monai_semiseg-") as folder:
        link = Path(folder, f"scan{path.suffix}")
        link.symlink_to(path.absolute())
        data_file, _, _ = data_layout(path)
        if data_file != path:
            Path(folder, data_file.name).symlink_to(data_file.absolute())
        yield link


def _read(path: Path, channels: Sequence[str]) -> Volume:
    import SimpleITK as sitk
    from monai.data import ITKReader

    header = _header(path)
    kind = sitk.GetPixelIDValueAsString(header.GetPixelID())
    shape, count = _axes(header, path, channels)
    itemsize = _itemsize(kind, path)
    parts = header.GetNumberOfComponents()
    check_size((*header.GetSize(), parts), itemsize, path)
    check_length(path, math.prod(header.GetSize()) * parts * itemsize)
    reader = ITKReader(affine_lps_to_ras=True)
    try:
        named = path.suffix.lower() in _SUFFIXES  # without one, ITK knows no format
        if not named or kind in _NOT_IN_ITK or parts > 1 or header.GetDimension() < 3:
            array, matrix = _with_simple_itk(header)
        else:
            array, meta = reader.get_data(reader.read(str(path)))
            matrix = np.asarray(meta["affine"])
    except RuntimeError as error:
        raise FormatError(
            "the voxels cannot be read", expected="a whole file", path=path
        ) from error
    array = np.ascontiguousarray(np.asarray(array).reshape(*shape, *([count] if count else [])))
    names = component_names(count, array.dtype) if len(channels) != count else tuple(channels)
    return Volume(array, check_affine(matrix, path), {"format": "itk"}, channels=names)


def itk_grid(path: Path, channels: Sequence[str] = ()) -> Grid:
    """Read the grid of an NRRD or MetaImage file from its header alone.

    Raises:
        InputError: If the header is damaged, or is not that of one image.
    """
    with _plain_name(path) as plain:
        header = _header(plain)
        shape, _ = _axes(header, plain, channels)
        return Grid(shape, check_affine(_affine(header), path))


def itk_metadata(path: Path) -> dict[str, str]:
    """Return the fields of an NRRD or MetaImage header that are not of the image itself.

    Raises:
        FormatError: If the header cannot be read.
    """
    with _plain_name(path) as plain:
        header = _header(plain)
        return {key: str(header.GetMetaData(key)) for key in header.GetMetaDataKeys()}


def _header(path: Path) -> Any:
    """Return a SimpleITK reader that has read the header; the content decides about the format."""
    import SimpleITK as sitk

    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    header = sitk.ImageFileReader()
    header.SetImageIO("NrrdImageIO" if is_nrrd(head) else "MetaImageIO")
    header.SetFileName(str(path))
    try:
        header.ReadImageInformation()
    except RuntimeError as error:
        raise FormatError(
            content_of(head) or "the header cannot be read",
            expected="a valid NRRD or MetaImage file",
            remedy="copy or download the file again",
            path=path,
        ) from error
    return header


def _axes(header: Any, path: Path, channels: Sequence[str]) -> tuple[tuple[int, int, int], int]:
    parts = header.GetNumberOfComponents()
    size = (*header.GetSize(), *([1] if header.GetDimension() == 2 else []))
    return spatial_and_channels(
        (*size, parts) if parts > 1 else size, path, channels, vector=parts > 1
    )


def _with_simple_itk(reader: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return voxels ``(i, j, k, ...)`` and RAS affine of a file, by a SimpleITK reader."""
    import SimpleITK as sitk

    image = reader.Execute()
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        return np.moveaxis(array, -1, 0).T, _affine(image)
    return array.T, _affine(image)


def _affine(image: Any) -> NDArray[np.float64]:
    """Return the RAS affine of a SimpleITK image or reader; a 2-D image lies in a plane."""
    axes = image.GetDimension()
    kept = min(axes, 3)
    directions = np.array(image.GetDirection()).reshape(axes, axes) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:kept, :kept] = directions[:kept, :kept]
    affine[:kept, 3] = image.GetOrigin()[:kept]
    return LPS_TO_RAS @ affine


def _itemsize(pixel_type: str, path: Path) -> int:
    for name, size in (("8-bit", 1), ("16-bit", 2), ("32-bit", 4), ("64-bit", 8)):
        if name in pixel_type and "complex" not in pixel_type:
            return size
    raise DtypeError(f"voxels of type {pixel_type}", expected="integers or real numbers", path=path)
