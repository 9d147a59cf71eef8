"""PNG, JPEG and BMP files as arrays, decoded by pillow after checks that pillow leaves out."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import (
    DimensionError,
    DtypeError,
    FormatError,
    InputError,
    TruncatedError,
)
from monai_semiseg.images.png import (
    deep_values,
    has_alpha,
    is_deep_colour,
    png_content,
)
from monai_semiseg.images.volume import RGB, check_size

_ORIENTATION = 0x0112  # EXIF tag
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends the coded data of a JPEG scan
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
# What pillow, tifffile and their decoders raise for damaged bytes.
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    EOFError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Layout:
    """Hold what a picture's header says.

    Attributes:
        columns: pixels along a row of the file.
        rows: rows of the file.
        orientation: EXIF orientation, 1 to 8.
        spacing: pixel size in mm along columns, rows and pages; None if the file says none.
        pages: number of pages that form a stack.
        has_palette: whether the header says that values are numbers of palette entries.
    """

    columns: int
    rows: int
    orientation: int = 1
    spacing: tuple[float, float, float] | None = None
    pages: int = 1
    has_palette: bool = False


@dataclass(frozen=True)
class Picture:
    """Decoded pixels.

    Attributes:
        layout: size, orientation and pixel size.
        values: ``(rows, columns)``; several pages come before, several channels behind.
        names: of the channels; empty if there is one.
        palette: colours ``(entries, 3)`` if the values are numbers of its entries.
        transparent: number of pixels that are not opaque.
    """

    layout: Layout
    values: NDArray[Any]
    names: tuple[str, ...] = ()
    palette: NDArray[np.uint8] | None = None
    transparent: int = 0


def read_with_pillow(path: Path, kind: str) -> Picture:
    """Decode a PNG, JPEG or BMP file.

    Raises:
        TruncatedError: If the file ends early.
        ChecksumError: If a part of a PNG file does not match its checksum.
        SizeError: If memory cannot hold the picture.
        DtypeError: If its colours are those of print (CMYK).
        FormatError: If it is damaged otherwise.
    """
    content = png_content(path) if kind == "PNG" else path.read_bytes()
    if kind == "JPEG":
        _require_end(content, path)
    with decoding(path, kind), _opened(io.BytesIO(content), kind) as image:
        layout = _layout(image, kind, path)
        if kind == "PNG" and is_deep_colour(content):
            return from_values(deep_values(content), layout, alpha=has_alpha(content))
        image.load()
        return from_pillow(image, layout, path)


def pillow_layout(path: Path, kind: str) -> Layout:
    """Read size and orientation from the header of a PNG, JPEG or BMP file, and check the size.

    Raises:
        InputError: If the header is damaged, or memory cannot hold the picture.
    """
    header = io.BytesIO(png_content(path, pixels=False)) if kind == "PNG" else None
    source = header or path.open("rb")
    with source, decoding(path, kind), _opened(source, kind) as image:
        return _layout(image, kind, path)


def _layout(image: Any, kind: str, path: Path) -> Layout:
    columns, rows = image.size
    check_picture_size((columns, rows), len(image.getbands()), 2 if kind == "PNG" else 1, path)
    return Layout(columns, rows, _orientation(image), has_palette=image.mode == "P")


def check_picture_size(size: tuple[int, ...], values: int, itemsize: int, path: Path) -> None:
    """Refuse an empty picture, and one that does not fit into memory, before it is decoded.

    Raises:
        DimensionError: If it has no pixels.
        SizeError: If it does not fit.
    """
    if min(size) < 1:
        raise DimensionError(
            f"empty, {'x'.join(map(str, size))} pixels", expected="at least one pixel", path=path
        )
    check_size((*size, values), itemsize, path, remedy="cut the picture into tiles")


@contextmanager
def decoding(path: Path, kind: str) -> Iterator[None]:
    """Turn a decoder's errors into typed ones, without the decoder's words.

    Raises:
        TruncatedError: If the decoder ran out of data.
        FormatError: For all its other errors.
    """
    try:
        yield
    except InputError:
        raise
    except DECODING_ERRORS as error:
        short = "trunc" in str(error) or "not enough" in str(error) or isinstance(error, EOFError)
        raise (TruncatedError if short else FormatError)(
            f"the {kind} picture {'ends early' if short else 'is damaged'}",
            expected=f"a whole {kind} file",
            remedy="copy or download the file again, or save the picture again",
            path=path,
        ) from error


def _opened(source: Any, kind: str) -> Any:
    """Return the picture by its own class, since ``Image.open`` warns about large pictures."""
    if kind == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(source)
    if kind == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(source)
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile(source)


def _orientation(image: Any) -> int:
    try:
        found = int(image.getexif().get(_ORIENTATION, 1))
    except DECODING_ERRORS:
        return 1  # other programs ignore damaged EXIF data, too
    return found if 1 <= found <= 8 else 1


def from_pillow(image: Any, layout: Layout, path: Path) -> Picture:
    """Return the pixels of a loaded pillow image.

    Raises:
        DtypeError: If its colours are not grey, RGB or a palette.
    """
    mode = image.mode
    if mode == "P":
        return _with_palette(image, layout)
    values = np.asarray(image)
    if mode == "1":
        values = values.astype(np.uint8) * np.uint8(255)
    elif mode == "I" and values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max:
        values = values.astype(np.uint16)  # how pillow holds 16 bits in some files
    elif mode in ("LA", "RGBA"):
        return from_values(values, layout, alpha=True)
    elif mode not in ("L", "RGB", "F", "I") and not mode.startswith("I;16"):
        raise DtypeError(
            f"colours of the kind {mode}" + (", for print" if mode == "CMYK" else ""),
            expected="grey or RGB",
            remedy="convert the picture to RGB",
            path=path,
        )
    hidden = image.info.get("transparency")
    picture = from_values(values, layout, alpha=False)
    if hidden is None:
        return picture
    match = values == hidden if values.ndim == 2 else (values == hidden).all(axis=-1)
    return Picture(layout, picture.values, picture.names, transparent=int(match.sum()))


def from_values(
    values: NDArray[Any], layout: Layout, *, alpha: bool = False, colour: bool = True
) -> Picture:
    """Return ``(rows, columns)`` or ``(rows, columns, values)`` as a picture.

    Args:
        values: the values, several per pixel or one; several pages come first.
        layout: layout of the picture.
        alpha: if the last of several values is the opacity.
        colour: if the first three of several values are red, green and blue; other values have
            numbers for names.
    """
    transparent = 0
    flat = 3 if layout.pages > 1 else 2
    if values.ndim > flat and alpha:
        opaque = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1.0
        transparent = int((values[..., -1] != opaque).sum())
        values = values[..., :-1]
    if values.ndim > flat and values.shape[-1] == 1:
        values = values[..., 0]
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    count = values.shape[-1] if values.ndim > flat else 0
    names = [str(number) for number in range(count)]
    if colour and count >= len(RGB):
        names[: len(RGB)] = RGB
    return Picture(layout, values, tuple(names), transparent=transparent)


def _with_palette(image: Any, layout: Layout) -> Picture:
    indices = np.asarray(image)
    colours = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    size = max(len(colours), int(indices.max()) + 1)
    palette = np.zeros((size, 3), np.uint8)
    palette[: len(colours)] = colours
    hidden = image.info.get("transparency", b"")
    opacity = np.full(256, 255, np.uint8)
    if isinstance(hidden, int):
        opacity[hidden] = 0
    else:
        opacity[: len(hidden)] = np.frombuffer(hidden, np.uint8)
    transparent = int((opacity[indices] < 255).sum())
    return Picture(layout, indices, palette=palette, transparent=transparent)


def _require_end(content: bytes, path: Path) -> None:
    """Require the marker that ends a JPEG file: pillow fills a file that lacks it up with grey."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 1 < len(content):
        code = content[at + 1]
        if code == 0xD9:
            return
        if code == 0xFF:
            at += 1
        elif code in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            if code == 0xDA:
                found = _MARKER.search(content, at)
                at = found.start() if found else len(content)
    raise TruncatedError(
        "the JPEG picture ends early",
        expected="a whole JPEG file",
        remedy="copy or download the file again",
        path=path,
    )
