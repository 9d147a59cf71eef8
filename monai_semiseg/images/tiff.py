"""TIFF files as arrays, decoded by tifffile, or by pillow where tifffile lacks a decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import (
    CodecError,
    DimensionError,
    DtypeError,
    FormatError,
    TruncatedError,
    UnsupportedError,
)
from monai_semiseg.images.picture_file import (
    DECODING_ERRORS,
    Layout,
    Picture,
    check_picture_size,
    decoding,
    from_pillow,
    from_values,
)
from monai_semiseg.images.tiff_spacing import pixel_size

_SLIDES = {"svs", "scn", "bif", "ndpi", "philips", "avs", "qpi", "vsi", "ventana", "ndtiff"}
# Bits of the kind of a page.
_REDUCED = 1
_MASK = 4
# Values of the tag PhotometricInterpretation.
_WHITE_IS_ZERO = 0
_RGB = 2
_PALETTE = 3
_YCBCR = 6
_COLOURS = {5: "CMYK, for print", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "a raw camera"}
_ALPHA = (1, 2)  # kinds of extra values: associated and unassociated
_LACKING = "imagecodecs"  # what tifffile's error for a missing decoder names
_TURNED_BACK = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"} | {
    6: "ROTATE_90",
    7: "TRANSVERSE",
    8: "ROTATE_270",
}


def read_tiff(path: Path, *, stack_pages: bool = False) -> Picture:
    """Decode a TIFF file: one page, or several pages of one kind as a stack.

    Raises:
        TruncatedError: If the file ends early.
        SizeError: If memory cannot hold the picture.
        DimensionError: If it has several pages, and they are no stack.
        UnsupportedError: If it is a slide or a pyramid.
        CodecError: If nothing here decodes its compression.
        InputError: One of the other subclasses, if it is damaged.
    """
    with _opened(path) as file:
        pages = _pages(file, path)
        layout = _layout(file, pages, path, stack_pages)
        page = pages[0]
        for one in pages:
            _require_all_data(one, path)
        with decoding(path, "TIFF"):
            if layout.pages > 1 or (not stack_pages and _channels_in_pages(file, pages)):
                picture = _stacked(file, page, layout, path)
            else:
                picture = _single(page, layout, path)
    size = (layout.rows, layout.columns)
    if picture.values.shape[1:3] != size and picture.values.shape[:2] != size:
        raise FormatError(
            f"pixels of shape {picture.values.shape}", expected=f"{size} by the tags", path=path
        )
    return picture


def tiff_layout(path: Path, *, stack_pages: bool = False) -> Layout:
    """Read a TIFF file's layout from its tags, and check its size.

    Raises:
        InputError: As :func:`read_tiff`, as far as the tags show it.
    """
    with _opened(path) as file:
        return _layout(file, _pages(file, path), path, stack_pages)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import tifffile

    with decoding(path, "TIFF"):
        file = tifffile.TiffFile(path)
    with file:
        yield file


def _pages(file: Any, path: Path) -> list[Any]:
    """Return the pages with pictures, without masks and small copies of them.

    Raises:
        UnsupportedError: If the file is a slide or a pyramid.
    """
    with decoding(path, "TIFF"):
        found = [page for page in file.pages if not int(page.subfiletype) & _MASK]
        whole = [page for page in found if not int(page.subfiletype) & _REDUCED] or found[:1]
        small = [page for page in found if page not in whole]
        page = whole[0]
        levels = max(len(series.levels) for series in file.series)
        kinds = sorted(_SLIDES & set(file.flags))
    if kinds or levels > 2 or page.subifds or any(one.is_tiled for one in small):
        raise UnsupportedError(
            f"a slide ({kinds[0]})" if kinds else "a pyramid: one picture in several sizes",
            expected="one picture of one size",
            remedy="cut into tiles (OpenSlide, QuPath, libvips), or export one level",
            path=path,
        )
    return whole


def _layout(file: Any, pages: list[Any], path: Path, stack_pages: bool) -> Layout:
    page = pages[0]
    with decoding(path, "TIFF"):
        count = max(len(pages), int(file.series[0].size) // max(1, int(page.size)))
        size = int(page.imagewidth), int(page.imagelength)
        samples = int(page.samplesperpixel)
        itemsize = max(1, int(page.bitspersample) // 8)
        orientation = int(page.tags.valueof(274, 1))
        spacing = pixel_size(file, page, path)
        alike = all(one.shape == page.shape and one.dtype == page.dtype for one in pages)
        deep = int(getattr(page, "imagedepth", 1)) > 1
        palette = int(page.photometric) == _PALETTE
    if not stack_pages and _channels_in_pages(file, pages):
        samples *= count
        count = 1
    check_picture_size((*size, count), samples, itemsize, path)
    if deep or (count > 1 and not (stack_pages and alike)):
        raise DimensionError(
            f"{count} pages" + ("" if alike else " of several kinds"),
            expected="one page, or pages of one kind that are a stack",
            remedy="save the page that you need in a file of its own, or slices as one NIfTI "
            "volume; --stack_pages says that they are slices",
            path=path,
        )
    if count > 1:
        _require_one_axis(file, page, path)
    if count > 1 and spacing and not spacing[2]:
        spacing = None  # the distance of the pages is not known, so lengths are not
    known = (spacing[0], spacing[1], spacing[2] or 1.0) if spacing else None
    turned = orientation if 1 <= orientation <= 8 else 1
    return Layout(*size, turned, known, count, palette)


def _require_one_axis(file: Any, page: Any, path: Path) -> None:
    """Refuse pages that the file (as ImageJ or OME) numbers along several axes: no stack of slices.

    Raises:
        DimensionError: If they are, such as channels or time points beside the slices.
    """
    series = file.series[0]
    further = len(series.shape) - len(page.shape)
    if len(file.series) > 1 or further < 2:
        return
    sizes = zip(series.axes[:further], series.shape[:further], strict=True)
    raise DimensionError(
        f"pages along {further} axes ({', '.join(f'{axis} {size}' for axis, size in sizes)})",
        expected="the slices of one image; Z are slices, C channels, T time points",
        remedy="save every channel and time point as a stack in a file of its own "
        "(ImageJ: Split Channels)",
        path=path,
    )


def _channels_in_pages(file: Any, pages: list[Any]) -> bool:
    """Return True if the file says (as ImageJ or OME) that its pages are channels."""
    series = file.series[0]
    return len(file.series) == 1 and series.axes == "CYX" and len(pages[0].shape) == 2


def _require_all_data(page: Any, path: Path) -> None:
    """Require every strip or tile within the file: tifffile fills absent ones with zeros."""
    size = path.stat().st_size
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    with decoding(path, "TIFF"):
        expected = max(1, math.prod(page.chunked))
    there = sum(bool(count) and start + count <= size for start, count in places)
    if there < expected:
        raise TruncatedError(
            f"{expected - there} of {expected} parts of the picture are missing or cut off",
            expected="a whole TIFF file",
            remedy="copy or download the file again",
            path=path,
        )


def _stacked(file: Any, page: Any, layout: Layout, path: Path) -> Picture:
    source = file.series[0].asarray if len(file.series) == 1 else file.asarray
    try:
        values = source(key=slice(None))
    except ValueError as error:
        if _LACKING not in str(error):
            raise
        raise _codec_error(page, path) from error
    if layout.pages == 1:
        return from_values(np.moveaxis(values, 0, -1), layout, colour=False)
    values = values.reshape(layout.pages, *page.shape)
    if page.axes == "SYX":
        values = np.moveaxis(values, 1, -1)
    return _in_names(_grey_up(values, page), page, layout)


def _single(page: Any, layout: Layout, path: Path) -> Picture:
    photometric = int(page.photometric)
    if photometric in _COLOURS:
        raise DtypeError(
            f"colours of the kind {_COLOURS[photometric]}",
            expected="grey or RGB",
            remedy="convert the picture to RGB",
            path=path,
        )
    if photometric == _YCBCR:
        return _by_pillow(page, layout, path)
    try:
        values = page.asarray()
    except ValueError as error:
        if _LACKING not in str(error):
            raise
        return _by_pillow(page, layout, path)
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    if photometric == _PALETTE:
        colours = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
        return Picture(layout, values, palette=colours)
    return _in_names(_grey_up(values, page), page, layout)


def _grey_up(values: NDArray[Any], page: Any) -> NDArray[Any]:
    """Return values that are larger where it is brighter; 1 bit becomes 0 and 255."""
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f" and values.dtype != np.float32:
        values = values.astype(np.float32)
    if int(page.photometric) == _WHITE_IS_ZERO and values.dtype.kind == "u":
        return np.asarray(np.iinfo(values.dtype).max - values)
    return values


def _in_names(values: NDArray[Any], page: Any, layout: Layout) -> Picture:
    alpha = any(int(kind) in _ALPHA for kind in page.extrasamples)
    return from_values(values, layout, alpha=alpha, colour=int(page.photometric) == _RGB)


def _by_pillow(page: Any, layout: Layout, path: Path) -> Picture:
    """Decode a page by pillow, if pillow keeps all its bits."""
    from PIL import Image
    from PIL.TiffImagePlugin import TiffImageFile

    bits, grey = int(page.bitspersample), int(page.samplesperpixel) == 1
    if bits <= 8 or (grey and bits in (16, 32)):
        try:
            with TiffImageFile(path) as image:
                image.load()  # turned as the tag says
                back = _TURNED_BACK.get(layout.orientation)
                turned = image.transpose(Image.Transpose[back]) if back else image
                picture = from_pillow(turned, layout, path)
                if grey and bits >= 8 and picture.palette is None:
                    # Pillow holds signed values as unsigned ones, or in more bits.
                    picture = replace(picture, values=picture.values.astype(page.dtype))
        except DECODING_ERRORS as error:
            if "decoder" not in str(error) and "cannot identify" not in str(error):
                raise
        else:
            white = bits == 16 and int(page.photometric) == _WHITE_IS_ZERO
            return from_values(_grey_up(picture.values, page), layout) if white else picture
    raise _codec_error(page, path)


def _codec_error(page: Any, path: Path) -> CodecError:
    kind = f"{page.compression.name}, {int(page.bitspersample)} bits"
    return CodecError(
        f"a compression that no installed package decodes ({kind})",
        expected="no compression, Deflate or PackBits",
        remedy="pip install imagecodecs, or save the picture without compression",
        path=path,
    )
