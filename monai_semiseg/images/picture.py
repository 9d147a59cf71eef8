"""Pictures (PNG, JPEG, BMP, TIFF) as 2-D images, shown as a viewer shows them by their affine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import UnsupportedError
from monai_semiseg.images.axes import note_alpha
from monai_semiseg.images.formats import picture_kind
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.leftovers import require_image
from monai_semiseg.images.picture_file import Layout, Picture, pillow_layout, read_with_pillow
from monai_semiseg.images.tiff import read_tiff, tiff_layout
from monai_semiseg.images.volume import RGB, Volume, warn

_READ = ("PNG", "JPEG", "BMP", "TIFF")
_SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff", ".btf", ".tf8"),
}
# EXIF orientation -> for right and down on the screen: axis of the file (0 along its rows), sign
SHOWN_AXES: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {
    1: ((0, 1), (1, 1)),
    2: ((0, -1), (1, 1)),
    3: ((0, -1), (1, -1)),
    4: ((0, 1), (1, -1)),
    5: ((1, 1), (0, 1)),
    6: ((1, -1), (0, 1)),
    7: ((1, -1), (0, -1)),
    8: ((1, 1), (0, -1)),
}


def read_picture(path: Path, *, stack_pages: bool = False) -> Volume:
    """Read a picture as ``(columns, rows, 1)``, or ``(columns, rows, 1, 3)`` if it has colours.

    Voxels stay in the order of the file. An EXIF orientation is in the affine, so that axis i of
    the oriented image runs to the right and axis j down, as a viewer shows it.

    Args:
        path: PNG, JPEG, BMP or TIFF, by content.
        stack_pages: read the pages of a TIFF as the slices of a 3-D scan.

    Raises:
        InputError: One of its subclasses, if the picture is damaged, or of a kind that is not read.
    """
    kind = _require_kind(path)
    if kind == "TIFF":
        picture = read_tiff(path, stack_pages=stack_pages)
    else:
        picture = read_with_pillow(path, kind)
    _note_name(path, kind)
    note_alpha(picture.transparent, path)
    values, names = _colours(picture)
    _note_range(values, path)
    return _volume(values, names, picture.layout, kind)


def read_palette_indices(path: Path) -> tuple[Volume, NDArray[np.uint8]] | None:
    """Read a picture's numbers of palette entries, which label files may use as labels.

    Returns:
        The numbers as an image of one channel, and the colours ``(entries, 3)``; None if the
        picture has no palette.

    Raises:
        InputError: As :func:`read_picture`.
    """
    kind = _require_kind(path)
    layout = tiff_layout(path) if kind == "TIFF" else pillow_layout(path, kind)
    if not layout.has_palette:  # the header says so: the pixels are not decoded
        return None
    picture = read_tiff(path) if kind == "TIFF" else read_with_pillow(path, kind)
    if picture.palette is None:
        return None
    return _volume(picture.values, (), picture.layout, kind), picture.palette


def picture_grid(path: Path, *, stack_pages: bool = False) -> Grid:
    """Read a picture's grid without its pixels.

    Raises:
        InputError: As :func:`read_picture`, as far as the header shows it.
    """
    kind = _require_kind(path)
    if kind == "TIFF":
        layout = tiff_layout(path, stack_pages=stack_pages)
    else:
        layout = pillow_layout(path, kind)
    shape = (layout.columns, layout.rows, layout.pages)
    return Grid(shape, _affine(layout), "mm" if layout.spacing else "px")


def _require_kind(path: Path) -> str:
    kind = picture_kind(path)
    if kind not in _READ:
        require_image(path, "a picture (PNG, JPEG, BMP, TIFF)")
        found = f"a {kind} picture, which is not read" if kind else "no picture by its content"
        raise UnsupportedError(
            found, expected=", ".join(_READ), remedy="save it as PNG, or leave it out", path=path
        )
    return kind


def _note_name(path: Path, kind: str) -> None:
    if not path.name.lower().endswith(_SUFFIXES[kind]) and path.suffix:
        warn(path, "W_NAME", f"the content is {kind}, against the file name")


def _note_range(values: NDArray[np.generic], path: Path) -> None:
    if values.dtype == np.uint16 and values.size and values.max() <= 255:
        warn(path, "W_RANGE", "16 bits per value, but no value is above 255")


def _colours(picture: Picture) -> tuple[NDArray[np.generic], tuple[str, ...]]:
    """Return values and channel names, with the colours of a palette in place of its numbers."""
    if picture.palette is None:
        return picture.values, picture.names
    palette = picture.palette
    if (palette == palette[:, :1]).all():
        return palette[:, 0][picture.values], ()
    return palette[picture.values], RGB


def _volume(
    values: NDArray[np.generic], names: tuple[str, ...], layout: Layout, kind: str
) -> Volume:
    """Return values ``(rows, columns)``, with pages before and channels behind, as a volume."""
    if layout.pages == 1:
        values = values[np.newaxis]
    return Volume(
        np.array(np.swapaxes(values, 0, 2), order="K"),  # as in the file: no time to rearrange
        _affine(layout),
        {"format": "picture", "picture": kind},
        channels=names,
        unit="mm" if layout.spacing else "px",
    )


def _affine(layout: Layout) -> NDArray[np.float64]:
    """Return the affine from (column, row, page) of the file to the place on the screen."""
    size = layout.columns, layout.rows
    spacing = layout.spacing or (1.0, 1.0, 1.0)
    affine = np.eye(4)
    affine[:2, :2] = 0.0
    affine[2, 2] = spacing[2]
    for shown, (axis, sign) in enumerate(SHOWN_AXES.get(layout.orientation, SHOWN_AXES[1])):
        affine[shown, axis] = sign * spacing[axis]
        affine[shown, 3] = (size[axis] - 1) * spacing[axis] if sign < 0 else 0.0
    return affine
