"""Reading of NIfTI with nibabel: one file or a pair, one channel or several, 2-D or 3-D."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from monai_semiseg.errors import FormatError, GeometryError, TruncatedError
from monai_semiseg.images.axes import component_names, spatial_and_channels, without_alpha
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.gzipped import read_whole
from monai_semiseg.images.nifti_header import (
    HEADER_BYTES,
    claimed_bytes,
    has_times,
    is_pair,
    nifti_affine,
    nifti_head,
    nifti_version,
    require_nifti,
)
from monai_semiseg.images.volume import RGB, Volume, check_dtype

_VECTORS = (1007, 2003, 2004)  # intents: vector, RGB vector, RGBA vector
_COLOURS = (("R", "G", "B"), ("R", "G", "B", "A"))  # parts of a voxel of RGB24 and RGBA32


def read_nifti(path: Path, channels: Sequence[str] = ()) -> Volume:
    """Read a .nii or .nii.gz file, or a pair; its content, not its name, decides if it is gzip.

    The sform is preferred to the qform if both are set, as in nibabel. A warning is issued if they
    differ.

    Args:
        path: the file; of a pair (.hdr and .img), either of the two.
        channels: names of the channels that a fourth axis holds.

    Raises:
        InputError: One of its subclasses, if the file is not one valid image.
    """
    path = pair_header(path)
    image = _whole_image(path)
    dtype = image.header.get_data_dtype()
    if dtype.names not in _COLOURS:
        check_dtype(dtype, path)
    shape, count = _axes(image, path, channels)
    affine = nifti_affine(image, path)
    try:
        stored = image.dataobj.get_unscaled() if dtype.names else image.dataobj
        array = np.asanyarray(stored).reshape(*shape, *([count] if count else []))
    except (OSError, ValueError, EOFError) as error:
        raise TruncatedError(
            f"voxels cannot be read ({error})", expected="a whole file", path=path
        ) from error
    names = component_names(count, array.dtype) if len(channels) != count else tuple(channels)
    if dtype.names:
        array = np.stack([array[part] for part in dtype.names], axis=-1)
        array = array if len(dtype.names) == len(RGB) else without_alpha(array, path)
        names = RGB
    codes = int(image.header["qform_code"]), int(image.header["sform_code"])
    return Volume(
        _native(array),
        affine,
        {
            "qform_code": codes[0],
            "sform_code": codes[1],
            "format": "nifti",
            "file_axes": len(image.shape),
        },
        channels=names,
    )


def nifti_grid(path: Path, channels: Sequence[str] = ()) -> Grid:
    """Read the grid of a NIfTI file from its header alone.

    Args:
        path: the file; of a pair, either of the two.
        channels: names of the channels that a fourth axis holds.

    Raises:
        InputError: If the header is damaged, or is not that of one image.
    """
    path = pair_header(path)
    head = nifti_head(path)
    claimed_bytes(head, path)
    image = _parse(head, b"" if is_pair(head) else None, path)
    return Grid(_axes(image, path, channels)[0], nifti_affine(image, path))


def pair_header(path: Path) -> Path:
    """Return the header beside the voxels of a pair (``a.hdr`` of ``a.img``); else the path."""
    for ending, other in ((".img", ".hdr"), (".img.gz", ".hdr"), (".img.gz", ".hdr.gz")):
        header = _renamed(path, ending, other)
        if header is not None and header.exists():
            return header
    return path


def pair_voxels(path: Path) -> Path | None:
    """Return the file with the voxels beside the header of a pair; None if there is none."""
    for ending, other in ((".hdr", ".img"), (".hdr", ".img.gz"), (".hdr.gz", ".img.gz")):
        voxels = _renamed(path, ending, other)
        if voxels is not None and voxels.exists():
            return voxels
    return None


def _require_voxels(path: Path) -> Path:
    """Return the file with the voxels of a pair.

    Raises:
        TruncatedError: If there is none.
    """
    if voxels := pair_voxels(path):
        return voxels
    raise TruncatedError(
        "a .hdr file without its .img file",
        expected="an .img file of the same name beside it",
        remedy="copy both files",
        path=path,
    )


def _renamed(path: Path, ending: str, other: str) -> Path | None:
    """Return the path with another ending, in capitals if its own is; None if it has another."""
    if not path.name.lower().endswith(ending):
        return None
    stem, own = path.name[: -len(ending)], path.name[-len(ending) :]
    return path.with_name(stem + (other.upper() if own.isupper() else other))


def _whole_image(path: Path) -> Any:
    """Read all bytes of one file or of a pair, checked, as a nibabel image."""
    content = read_whole(path, HEADER_BYTES, lambda head: _claimed(head, path))
    if not is_pair(content):
        return _parse(content, None, path)
    total = claimed_bytes(content, path)
    return _parse(content, read_whole(_require_voxels(path), 0, lambda _: total), path)


def _claimed(head: bytes, path: Path) -> int:
    """Return the bytes that a file holds by its header: of a pair, those of the header."""
    return len(head) if is_pair(require_nifti(head, path)) else claimed_bytes(head, path)


def _axes(image: Any, path: Path, channels: Sequence[str]) -> tuple[tuple[int, int, int], int]:
    return spatial_and_channels(
        tuple(int(n) for n in image.shape),
        path,
        channels,
        vector=int(image.header["intent_code"]) in _VECTORS,
        times=has_times(image.header),
    )


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Convert to native byte order, which torch needs; float64 from scaling becomes float32."""
    if array.dtype == np.float64:
        return np.ascontiguousarray(array, dtype=np.float32)
    return np.array(array, dtype=array.dtype.newbyteorder("="))


def _parse(header: bytes, voxels: bytes | None, path: Path) -> Any:
    """Return the nibabel image of one file's bytes, or of the bytes of a pair."""
    first = nifti_version(header) == 1
    try:
        if voxels is None:
            return (nib.Nifti1Image if first else nib.Nifti2Image).from_bytes(header)
        kind = nib.Nifti1Pair if first else nib.Nifti2Pair
        files = {"header": header, "image": voxels}
        return kind.from_file_map(
            {name: FileHolder(fileobj=io.BytesIO(content)) for name, content in files.items()}
        )
    except (HeaderDataError, ImageFileError, ValueError, OSError) as error:
        raise FormatError(f"header: {error}", expected="a valid NIfTI header", path=path) from error
    except np.linalg.LinAlgError as error:
        raise GeometryError(
            f"affine: {error}", expected="an invertible affine in mm", path=path
        ) from error
