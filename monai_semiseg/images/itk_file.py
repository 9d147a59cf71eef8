"""Reading of NRRD and MetaImage, with checks of length and checksum.

ITK itself fills a truncated file with zeros.
"""

from __future__ import annotations

import gzip
import math
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import (
    ChecksumError,
    DtypeError,
    FormatError,
    InputError,
    SizeError,
    TruncatedError,
    UnsupportedError,
)
from monai_semiseg.images.volume import (
    LPS_TO_RAS,
    Volume,
    check_affine,
    check_size,
    spatial_shape,
)
from monai_semiseg.plain_text import printable

_HEADER_LIMIT = 1 << 20
# SimpleITK's names of the types of voxels for which ITK's Python package has no images.
_NOT_IN_ITK = ("8-bit signed integer", "64-bit signed integer")


def is_nrrd(head: bytes) -> bool:
    """Return True if the first bytes are those of an NRRD file."""
    return head.startswith(b"NRRD000")


def is_meta_image(head: bytes) -> bool:
    """Return True if the first bytes are those of a MetaImage header (.mha, .mhd)."""
    return head.lstrip().startswith((b"ObjectType", b"NDims")) and b"=" in head


def read_itk(path: Path) -> Volume:
    """Read an NRRD or MetaImage file.

    SimpleITK reads the header, length and checksum are checked here, and MONAI's ITK reader reads
    the voxels.

    Raises:
        InputError: One of its subclasses, if the file is damaged, or not one 3-D volume of real
            numbers.
    """
    if printable(str(path)) == str(path):
        return _read(path)
    with _linked(path) as link:  # ITK cannot open a name with bytes that are not UTF-8
        try:
            return _read(link)
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
        data_file, _, _ = _layout(path)
        if data_file != path:
            Path(folder, data_file.name).symlink_to(data_file.absolute())
        yield link


def _read(path: Path) -> Volume:
    import SimpleITK as sitk
    from monai.data import ITKReader

    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    try:
        header.ReadImageInformation()
    except RuntimeError as error:
        raise FormatError(
            "the header cannot be read", expected="a valid NRRD or MetaImage file", path=path
        ) from error
    shape = spatial_shape(tuple(header.GetSize()), path)
    if header.GetNumberOfComponents() != 1:
        raise DtypeError(
            f"{header.GetNumberOfComponents()} values per voxel",
            expected="one per voxel",
            path=path,
        )
    itemsize = _itemsize(sitk.GetPixelIDValueAsString(header.GetPixelID()), path)
    check_size(shape, itemsize, path)
    _check_length(path, math.prod(header.GetSize()) * itemsize)
    reader = ITKReader(affine_lps_to_ras=True)
    try:
        if sitk.GetPixelIDValueAsString(header.GetPixelID()) in _NOT_IN_ITK:
            array, matrix = _with_simple_itk(header)
        else:
            array, meta = reader.get_data(reader.read(str(path)))
            matrix = np.asarray(meta["affine"])
    except RuntimeError as error:
        raise FormatError(
            "the voxels cannot be read", expected="a whole file", path=path
        ) from error
    affine = check_affine(matrix, path)
    return Volume(np.ascontiguousarray(np.asarray(array).reshape(shape)), affine, {"format": "itk"})


def _with_simple_itk(reader: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return voxels ``(i, j, k, ...)`` and RAS affine of a file, by a SimpleITK reader."""
    import SimpleITK as sitk

    image = reader.Execute()
    axes = image.GetDimension()
    directions = np.array(image.GetDirection()).reshape(axes, axes) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = directions[:3, :3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return sitk.GetArrayFromImage(image).T, LPS_TO_RAS @ affine


def _itemsize(pixel_type: str, path: Path) -> int:
    for name, size in (("8-bit", 1), ("16-bit", 2), ("32-bit", 4), ("64-bit", 8)):
        if name in pixel_type and "complex" not in pixel_type:
            return size
    raise DtypeError(f"voxels of type {pixel_type}", expected="integers or real numbers", path=path)


def _check_length(path: Path, expected: int) -> None:
    """Require the voxel bytes that the header declares, and a correct checksum."""
    data_file, start, encoding = _layout(path)
    try:
        found = sum(_lengths(data_file, start, encoding, limit=expected + _HEADER_LIMIT))
    except (EOFError, FileNotFoundError) as error:
        raise TruncatedError(
            "the voxel data end early", expected=f"{expected} bytes", path=data_file
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ChecksumError(
            f"damaged voxel data ({error})",
            expected="data that match their checksum",
            path=data_file,
        ) from error
    if found < expected:
        raise TruncatedError(
            f"{found} bytes of voxels",
            expected=f"{expected} bytes by the header",
            remedy="copy or download the file again",
            path=data_file,
        )
    if found > expected + _HEADER_LIMIT:
        raise SizeError(
            f"more than {found} bytes of voxels",
            expected=f"{expected} bytes by the header",
            path=path,
        )


def _lengths(path: Path, start: int, encoding: str, limit: int) -> Iterator[int]:
    with path.open("rb") as stream:
        stream.seek(start)
        if encoding == "raw":
            yield path.stat().st_size - start
            return
        inflate = zlib.decompressobj(wbits=47)  # zlib or gzip, by their headers
        total = 0
        while total <= limit and (chunk := stream.read(1 << 20)):
            while chunk and total <= limit:
                block = inflate.decompress(chunk, 1 << 22)
                total += len(block)
                yield len(block)
                chunk = inflate.unconsumed_tail
        if total <= limit and not inflate.eof:
            raise EOFError(path)


def _layout(path: Path) -> tuple[Path, int, str]:
    """Return file, first byte and encoding of the voxels: ``raw`` or ``gzip`` (any deflate)."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER_LIMIT)
    if is_nrrd(head):
        fields, start = _fields(head, b":", until=b"\n\n")
        encoding = fields.get("encoding", "raw").lower()
        name = fields.get("data file", fields.get("datafile", ""))
    else:
        fields, start = _fields(head, b"=", until=None)
        encoding = "gzip" if fields.get("compresseddata", "false").lower() == "true" else "raw"
        name = fields.get("elementdatafile", "LOCAL")
        if name.upper() == "LOCAL":
            name = ""
    encoding = {"gz": "gzip", "gzip": "gzip", "raw": "raw"}.get(encoding, encoding)
    if encoding not in ("raw", "gzip") or "%" in name or name.upper().startswith("LIST"):
        raise UnsupportedError(
            f"encoding {encoding!r}, data in {name or 'this file'!r}",
            expected="raw or gzip voxels in one file",
            path=path,
        )
    return (path.parent / name, 0, encoding) if name else (path, start, encoding)


def _fields(head: bytes, sign: bytes, until: bytes | None) -> tuple[dict[str, str], int]:
    """Return the header fields (lower-case names) and the offset of the first byte after it."""
    if until is not None:  # NRRD: a blank line ends the header
        ends = [at + len(mark) for mark in (until, b"\r\n\r\n") if (at := head.find(mark)) >= 0]
        end = min(ends) if ends else len(head)
    else:  # MetaImage: ElementDataFile is the last line
        at = head.find(b"ElementDataFile")
        end = head.find(b"\n", at) + 1 if at >= 0 else len(head)
    pairs = (line.split(sign, 1) for line in head[:end].splitlines() if sign in line)
    return {
        key.strip().decode("latin1").lower(): value.strip(b" =\r").decode("latin1")
        for key, value in pairs
    }, end
