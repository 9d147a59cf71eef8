"""Reading of FreeSurfer volumes (.mgh, .mgz) with nibabel, checked like NIfTI."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_semiseg.errors import DtypeError, FormatError, GeometryError, TruncatedError
from monai_semiseg.images.axes import spatial_and_channels
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.gzipped import read_head, read_whole
from monai_semiseg.images.leftovers import content_of
from monai_semiseg.images.volume import Volume, check_affine, check_size

_HEADER_BYTES = 284
_ITEMSIZE = {0: 1, 1: 4, 3: 4, 4: 2, 10: 2}  # by the code of the type
_VERSION = b"\0\0\0\x01"


def read_mgh(path: Path, channels: Sequence[str] = ()) -> Volume:
    """Read a .mgh or .mgz file.

    Args:
        path: the file; its content, not its name, decides if it is compressed.
        channels: names of the channels that its frames hold.

    Raises:
        InputError: One of its subclasses, if the file is damaged, or is not one image.
    """
    content = read_whole(path, _HEADER_BYTES, lambda head: _claimed_bytes(head, path))
    image = _parse(content, path)
    shape, count = spatial_and_channels(image.shape, path, channels)
    array = np.asanyarray(image.dataobj).reshape(*shape, *([count] if count else []))
    return Volume(
        np.array(array, dtype=array.dtype.newbyteorder("=")),
        check_affine(image.affine, path),
        {"format": "mgh"},
        channels=tuple(channels) if count else (),
    )


def mgh_grid(path: Path, channels: Sequence[str] = ()) -> Grid:
    """Read the grid of a .mgh or .mgz file from its header alone.

    Raises:
        InputError: If the header is damaged, or is not that of one image.
    """
    head = read_head(path, _HEADER_BYTES)
    _claimed_bytes(head, path)
    image = _parse(head, path)
    shape, _ = spatial_and_channels(image.shape, path, channels)
    return Grid(shape, check_affine(image.affine, path))


def _claimed_bytes(head: bytes, path: Path) -> int:
    """Return the bytes up to the last voxel that the header declares, if memory can hold them."""
    if not head.startswith(_VERSION):
        raise FormatError(
            content_of(head) or "no FreeSurfer volume",
            expected="a .mgh or .mgz file",
            remedy="check the format of the file",
            path=path,
        )
    if len(head) < _HEADER_BYTES:
        raise TruncatedError(
            f"{len(head)} bytes of the header", expected=f"{_HEADER_BYTES} bytes", path=path
        )
    shape = tuple(int(n) for n in np.frombuffer(head, ">i4", 4, offset=4))
    code = int(np.frombuffer(head, ">i4", 1, offset=20)[0])
    if code not in _ITEMSIZE:
        raise DtypeError(f"voxels of type {code}", expected="uint8, int16, int32, float", path=path)
    if min(shape) < 1:
        raise FormatError(f"header claims shape {shape}", expected="one image", path=path)
    check_size(shape, _ITEMSIZE[code], path)
    return _HEADER_BYTES + math.prod(shape) * _ITEMSIZE[code]


def _parse(content: bytes, path: Path) -> Any:
    from nibabel.freesurfer import MGHImage

    try:
        return MGHImage.from_bytes(content)
    except np.linalg.LinAlgError as error:
        raise GeometryError(
            f"affine: {error}", expected="an invertible affine in mm", path=path
        ) from error
    except (ValueError, OSError, KeyError) as error:
        raise FormatError(f"header: {error}", expected="a valid MGH header", path=path) from error
