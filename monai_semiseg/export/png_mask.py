"""Label map of a 2-D image as a PNG of label numbers, in the raster of the image's file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from monai_semiseg.datasets.label_values import compact_mask
from monai_semiseg.errors import UnsupportedError
from monai_semiseg.images.picture import SHOWN_AXES
from monai_semiseg.storage.files import write_atomically


def write_png_mask(
    mask: NDArray[Any], path: Path, names: Mapping[int, str], orientation: int = 1
) -> Path:
    """Write a label map atomically as a grey PNG of label numbers, 8 bit, or 16 if one is > 255.

    Args:
        mask: label numbers, shape ``(columns, rows, 1)``.
        path: the file to write.
        names: number -> name; their largest number counts for the number of bits.
        orientation: EXIF's number; the PNG gets the one of the photograph, so that viewers and
            readers turn both alike.

    Raises:
        ConfigError: If a number is not from 0 to 65535.
        UnsupportedError: If the mask has several slices.
    """
    if mask.ndim != 3 or mask.shape[2] != 1:
        raise UnsupportedError(
            f"a mask of {'x'.join(map(str, mask.shape))} voxels", expected="one slice for a PNG"
        )
    return _write(compact_mask(mask, names), path, orientation)


def write_png_colours(
    mask: NDArray[Any], path: Path, colours: Mapping[int, str], orientation: int = 1
) -> Path:
    """Write a label map atomically as a PNG in colours, for datasets whose labels are colours.

    Args:
        mask: label numbers ``(columns, rows, 1)``.
        path: the file to write.
        colours: number -> ``#rrggbb``, of all numbers of the mask.
        orientation: as in :func:`write_png_mask`.
    """
    numbers = sorted(colours)
    palette = np.array([list(bytes.fromhex(colours[n][1:])) for n in numbers], dtype=np.uint8)
    return _write(palette[np.searchsorted(numbers, mask)], path, orientation)


def write_png_map(values: NDArray[Any], path: Path, orientation: int = 1) -> Path:
    """Write a map of numbers from 0 to 1 atomically as a grey PNG, 1 as 255.

    Args:
        values: ``(columns, rows, 1)``.
        path: the file to write.
        orientation: as in :func:`write_png_mask`.
    """
    return _write(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8), path, orientation)


def _write(values: NDArray[Any], path: Path, orientation: int) -> Path:
    picture = Image.fromarray(np.ascontiguousarray(np.swapaxes(values[:, :, 0], 0, 1)))
    stream = io.BytesIO()
    more: dict[str, Any] = {}
    if orientation != 1:
        more["exif"] = Image.Exif()
        more["exif"][Base.Orientation] = orientation
    picture.save(stream, format="png", compress_level=1, **more)
    return write_atomically(path, stream.getvalue())


def exif_orientation(affine: NDArray[np.float64]) -> int:
    """Return EXIF's number of a picture's orientation, from the affine that its reader gave it."""
    for number, axes in SHOWN_AXES.items():
        if all(sign * affine[shown, axis] > 0 for shown, (axis, sign) in enumerate(axes)):
            return number
    return 1
