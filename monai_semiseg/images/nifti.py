"""Reading of NIfTI with nibabel, and checks of gzip checksum, declared size and affine."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from monai_semiseg.errors import (
    ChecksumError,
    DimensionError,
    DtypeError,
    FormatError,
    GeometryError,
    NotNiftiError,
    SizeError,
    TruncatedError,
    UnsupportedError,
)
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.volume import (
    Volume,
    check_affine,
    check_dtype,
    check_size,
    spatial_shape,
    warn,
)

GZIP_MAGIC = b"\x1f\x8b"
_MILLIMETRES = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}  # by the code of xyzt_units
_HEADER_BYTES = 540  # the longer of the two headers (NIfTI-2)


def nifti_version(head: bytes) -> int:
    """Return the NIfTI version (1 or 2) of a header; 0 if it is not a NIfTI header."""
    for size, where, magics, version in (
        (348, 344, (b"n+1\0", b"ni1\0"), 1),
        (540, 4, (b"n+2\0", b"ni2\0"), 2),
    ):
        declared = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
        if size in declared and head[where : where + 4] in magics:
            return version
    return 0


def nifti_head(path: Path) -> bytes:
    """Return a file's first bytes, as many as a header may have, decompressed if it is gzip.

    Raises:
        TruncatedError: If they cannot be decompressed.
    """
    with path.open("rb") as raw:
        zipped = raw.read(2) == GZIP_MAGIC
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            return bytes(stream.read(_HEADER_BYTES))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TruncatedError(
            f"the header cannot be decompressed ({error})",
            expected="a whole file",
            remedy="copy or download the file again",
            path=path,
        ) from error


def read_nifti(path: Path) -> Volume:
    """Read a .nii or .nii.gz file; its content, not its name, decides which it is.

    The sform is preferred to the qform if both are set, as in nibabel. A warning is issued if they
    differ.

    Raises:
        InputError: One of its subclasses, if the file is not one valid 3-D volume.
    """
    image = _parse(_read_bytes(path), path)
    header = image.header
    shape = spatial_shape(tuple(int(n) for n in image.shape), path)
    check_dtype(header.get_data_dtype(), path)
    affine = _affine(image, path)
    try:
        array = np.asanyarray(image.dataobj).reshape(shape)
    except (OSError, ValueError, EOFError) as error:
        raise TruncatedError(
            f"voxels cannot be read ({error})", expected="a whole file", path=path
        ) from error
    codes = int(header["qform_code"]), int(header["sform_code"])
    return Volume(
        _native(array), affine, {"qform_code": codes[0], "sform_code": codes[1], "format": "nifti"}
    )


def nifti_grid(path: Path) -> Grid:
    """Read the grid of a .nii or .nii.gz file from its header alone.

    Raises:
        InputError: If the header is damaged, or is not that of a 3-D volume.
    """
    head = nifti_head(path)
    _claimed_bytes(_require_nifti(head, path), path)
    image = _parse(head, path)
    return Grid(spatial_shape(tuple(int(n) for n in image.shape), path), _affine(image, path))


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Convert to native byte order, which torch needs; float64 from scaling becomes float32."""
    if array.dtype == np.float64:
        return np.ascontiguousarray(array, dtype=np.float32)
    return np.array(array, dtype=array.dtype.newbyteorder("="))


def _read_bytes(path: Path) -> bytes:
    """Read all (uncompressed) bytes of the image; check header, size and checksum."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if zipped != path.name.lower().endswith(".gz"):
            warn(
                path,
                "W_NAME",
                f"the content is {'gzip' if zipped else 'not compressed'}, against the file name",
            )
        stream: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
        try:
            return _read_checked(stream, path)
        except EOFError as error:
            raise TruncatedError(
                f"the compressed data end early, after {path.stat().st_size} bytes",
                expected="a whole gzip stream",
                remedy="copy or download the file again",
                path=path,
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ChecksumError(
                f"damaged gzip data ({error})",
                expected="data that match their checksum",
                remedy="copy or download the file again",
                path=path,
            ) from error


def _read_checked(stream: IO[bytes], path: Path) -> bytes:
    head = _require_nifti(stream.read(_HEADER_BYTES), path)
    total = _claimed_bytes(head, path)
    rest = stream.read(max(0, total - len(head)))
    if len(head) + len(rest) < total:
        raise TruncatedError(
            f"{len(head) + len(rest)} of {total} bytes",
            expected="as many bytes as the header claims",
            remedy="copy or download the file again",
            path=path,
        )
    # Read to the end, because gzip verifies its checksum only there. Reading stops after one more
    # megabyte, against zip bombs.
    extra = 0
    while chunk := stream.read(1 << 16):
        extra += len(chunk)
        if extra > 1 << 20:
            raise SizeError(
                f"more than {total + extra} bytes",
                expected=f"{total} bytes by the header",
                remedy="check the file; it holds more than one image",
                path=path,
            )
    return head + rest


def _require_nifti(head: bytes, path: Path) -> bytes:
    if not nifti_version(head):
        raise NotNiftiError(
            _content_of(head),
            expected="NIfTI-1 or NIfTI-2",
            remedy="check the format of the file",
            path=path,
        )
    return head


def _content_of(head: bytes) -> str:
    """Name the content of a file that is no NIfTI, such as the rest of a failed download."""
    if not head:
        return "an empty file"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: the scan itself was not downloaded"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    return "no NIfTI header"


def _claimed_bytes(head: bytes, path: Path) -> int:
    """Return the bytes up to the last voxel that the header declares, if memory can hold them."""
    header = _header(head, path)
    if bytes(header["magic"]).startswith(b"ni"):
        raise UnsupportedError(
            "a two-file image (.hdr and .img)", expected="one .nii or .nii.gz file", path=path
        )
    try:
        dtype = header.get_data_dtype()
        shape = tuple(int(n) for n in header.get_data_shape())
    except (HeaderDataError, KeyError, ValueError) as error:
        raise DtypeError(
            f"header: {error}", expected="a voxel type of the NIfTI standard", path=path
        ) from error
    if not shape or min(shape) < 1:
        raise DimensionError(f"header claims shape {shape}", expected="one 3-D volume", path=path)
    if dtype.itemsize == 0:
        raise DtypeError(
            "voxels of an unknown type", expected="a voxel type of the NIfTI standard", path=path
        )
    check_size(shape, dtype.itemsize, path)
    sizes = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not (int(header["qform_code"]) or int(header["sform_code"])) and not (
        np.isfinite(sizes).all() and sizes.all()
    ):
        # Checked on the raw header: nibabel silently changes a voxel size of 0 to 1 mm.
        raise GeometryError(
            f"voxel size {sizes.tolist()} mm", expected="three sizes above zero", path=path
        )
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or not 0 <= offset < 2**31:
        raise FormatError(
            f"header puts the voxels at byte {offset}", expected="352 or a little more", path=path
        )
    return int(offset) + math.prod(shape) * int(dtype.itemsize)


def _header(head: bytes, path: Path) -> Any:
    kind = nib.Nifti1Header if nifti_version(head) == 1 else nib.Nifti2Header
    try:
        return kind.from_fileobj(io.BytesIO(head), check=False)
    except (HeaderDataError, WrapStructError, ValueError) as error:
        raise NotNiftiError(
            f"a damaged header ({error})", expected="a NIfTI header", path=path
        ) from error


def _parse(content: bytes, path: Path) -> Any:
    kind = nib.Nifti1Image if nifti_version(content) == 1 else nib.Nifti2Image
    try:
        return kind.from_bytes(content)
    except GeometryError:
        raise
    except (HeaderDataError, ImageFileError, ValueError, OSError) as error:
        raise FormatError(f"header: {error}", expected="a valid NIfTI header", path=path) from error
    except np.linalg.LinAlgError as error:
        raise GeometryError(
            f"affine: {error}", expected="an invertible affine in mm", path=path
        ) from error


def _affine(image: Any, path: Path) -> NDArray[np.float64]:
    """Return the affine in mm, converted from the unit of length in the header."""
    header = image.header
    codes = int(header["qform_code"]), int(header["sform_code"])
    affine = check_affine(image.affine, path)
    if not any(codes):
        warn(
            path,
            "W_ORIENT",
            "neither qform nor sform is set; orientation assumed from the voxel order",
        )
    elif all(codes):
        qform = _qform(header)
        if qform is None or not np.allclose(qform, affine, atol=1e-2):
            warn(path, "W_ORIENT", "qform and sform differ; the sform is used")
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    tilt = math.degrees(math.asin(min(1.0, float(np.abs(axes.T @ axes - np.eye(3)).max()))))
    if tilt > 0.5:
        warn(path, "W_SHEAR", f"axes are {tilt:.1f} degrees off a right angle")
    unit = int(header["xyzt_units"]) & 0x07
    if unit in _MILLIMETRES:
        name, millimetres = _MILLIMETRES[unit]
        warn(path, "W_UNITS", f"lengths are in {name} by the header, and were converted to mm")
        affine = np.diag([millimetres] * 3 + [1.0]) @ affine
    return affine


def _qform(header: Any) -> NDArray[np.float64] | None:
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except (ValueError, np.linalg.LinAlgError):
        return None
