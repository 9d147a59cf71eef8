"""Headers of NIfTI files: what they declare, checked before any voxel is read."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from monai_semiseg.errors import (
    DimensionError,
    DtypeError,
    FormatError,
    GeometryError,
    NotNiftiError,
    UnsupportedError,
)
from monai_semiseg.images.gzipped import read_head
from monai_semiseg.images.leftovers import content_of
from monai_semiseg.images.volume import check_affine, check_size, warn

HEADER_BYTES = 540  # the longer of the two headers (NIfTI-2)
_MILLIMETRES = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}  # by the code of xyzt_units
_SIZES = (b"\x5c\x01\0\0", b"\0\0\x01\x5c")  # 348, the length of a header, in both byte orders
_TIME_UNITS = (8, 16, 24)  # seconds, milliseconds, microseconds


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
    return read_head(path, HEADER_BYTES)


def require_nifti(head: bytes, path: Path) -> bytes:
    """Return the first bytes of a file if they are those of NIfTI.

    Raises:
        NotNiftiError: If not, with what they are.
        UnsupportedError: If they are those of its forerunner, Analyze.
    """
    if head[:4] in _SIZES and not nifti_version(head):
        raise UnsupportedError(
            "an Analyze 7.5 header, which does not say left from right",
            expected="NIfTI-1 or NIfTI-2",
            remedy="convert it to .nii.gz with the program that wrote it",
            path=path,
        )
    if not nifti_version(head):
        raise NotNiftiError(
            content_of(head) or "no NIfTI header",
            expected="NIfTI-1 or NIfTI-2",
            remedy="check the format of the file",
            path=path,
        )
    return head


def claimed_bytes(head: bytes, path: Path) -> int:
    """Return the bytes up to the last voxel that the header declares, if memory can hold them."""
    header = _header(require_nifti(head, path), path)
    try:
        dtype = header.get_data_dtype()
        shape = tuple(int(n) for n in header.get_data_shape())
    except (HeaderDataError, KeyError, ValueError) as error:
        raise DtypeError(
            f"header: {error}", expected="a voxel type of the NIfTI standard", path=path
        ) from error
    if not shape or min(shape) < 1:
        raise DimensionError(
            f"header claims shape {shape}", expected="one 2-D or 3-D image", path=path
        )
    if dtype.itemsize == 0:
        raise DtypeError(
            "voxels of an unknown type", expected="a voxel type of the NIfTI standard", path=path
        )
    check_size(shape, dtype.itemsize, path)
    _check_pixdim(header, shape, path)
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or not 0 <= offset < 2**31:
        raise FormatError(
            f"header puts the voxels at byte {offset}", expected="352 or a little more", path=path
        )
    return int(offset) + math.prod(shape) * int(dtype.itemsize)


def _check_pixdim(header: Any, shape: tuple[int, ...], path: Path) -> None:
    """Require the voxel sizes that the qform, or no form at all, depends on.

    Checked on the raw header: nibabel silently changes a voxel size of 0 to 1 mm. A slice of its
    own may have no thickness.
    """
    if int(header["sform_code"]):  # has its own voxel sizes
        return
    sizes = np.asarray(header["pixdim"][1 : 1 + min(3, len(shape))], dtype=np.float64)
    needed = sizes[np.array(shape[:3]) > 1]
    if not (np.isfinite(needed).all() and needed.all()):
        raise GeometryError(
            f"voxel size {sizes.tolist()} mm", expected="sizes above zero", path=path
        )


def _header(head: bytes, path: Path) -> Any:
    kind = nib.Nifti1Header if nifti_version(head) == 1 else nib.Nifti2Header
    try:
        return kind.from_fileobj(io.BytesIO(head), check=False)
    except (HeaderDataError, WrapStructError, ValueError) as error:
        raise NotNiftiError(
            f"a damaged header ({error})", expected="a NIfTI header", path=path
        ) from error


def nifti_affine(image: Any, path: Path) -> NDArray[np.float64]:
    """Return the affine in mm, converted from the unit of length in the header."""
    header = image.header
    codes = int(header["qform_code"]), int(header["sform_code"])
    affine = check_affine(_with_depth(image), path)
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


def _with_depth(image: Any) -> NDArray[np.float64]:
    """Return the affine; a 2-D image without a slice thickness gets one of a unit of length."""
    affine = np.array(image.affine, dtype=np.float64)
    flat = len(image.shape) < 3 or image.shape[2] == 1
    if flat and np.linalg.norm(affine[:3, 2]) < 1e-6:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    return affine


def has_times(header: Any) -> bool:
    """Return True if a header says that the fourth axis is time."""
    unit = int(header["xyzt_units"]) & 0x38
    return unit in _TIME_UNITS or float(header["pixdim"][4]) > 0


def is_pair(head: bytes) -> bool:
    """Return True if a NIfTI header says that the voxels are in a file of their own."""
    where = 344 if nifti_version(head) == 1 else 4
    return head[where : where + 2] == b"ni"


def _qform(header: Any) -> NDArray[np.float64] | None:
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except (ValueError, np.linalg.LinAlgError):
        return None
