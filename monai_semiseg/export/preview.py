"""Quick looks: three planes through the largest segment, contours over the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from monai_semiseg.storage.files import atomic_path

_CELL, _ROW, _TITLE, _LEGEND = 280, 300, 40, 40  # pixels


@dataclass(frozen=True)
class Preview:
    """One scan to picture.

    Attributes:
        title: above the three planes.
        image: voxels, shape ``(i, j, k)``.
        mask: predicted label map of the same shape.
        spacing: voxel size in mm.
        label: reference label map, drawn dashed, if there is one.
    """

    title: str
    image: NDArray[Any]
    mask: NDArray[Any]
    spacing: tuple[float, ...]
    label: NDArray[Any] | None = None


def draw_previews(previews: Sequence[Preview], path: Path, names: Mapping[int, str]) -> Path:
    """Draw one row of three planes for every preview; prediction solid, reference dashed, a colour per class.

    Pillow draws it: for a folder of small scans, a plotting library would take longer than the
    network.
    """
    sheet = Image.new("RGB", (3 * _CELL, _ROW * len(previews) + _LEGEND), "white")
    for number, preview in enumerate(previews):
        _draw_row(sheet, number * _ROW, preview, names)
    reference = any(preview.label is not None for preview in previews)
    _draw_legend(sheet, _ROW * len(previews), names, reference)
    with atomic_path(path) as part:
        sheet.save(part, format="png", compress_level=1)
    return path


def _colour(index: int) -> tuple[int, ...]:
    """A colour that stands out from grey, by a label's place among the foreground's."""
    palette = (
        "#ff4d4d",
        "#ffb000",
        "#00d0ff",
        "#7dff4d",
        "#ff66e0",
        "#ffff4d",
        "#4d7dff",
        "#ff8c66",
    )
    return ImageColor.getrgb(palette[index % len(palette)])


def _draw_row(sheet: Image.Image, top: int, preview: Preview, names: Mapping[int, str]) -> None:
    place = _centre(preview.mask if preview.mask.any() or preview.label is None else preview.label)
    low, high = np.percentile(
        preview.image[tuple(slice(None, None, max(1, n // 64)) for n in preview.image.shape)],
        (1, 99),
    )
    title = preview.title.splitlines()[:2]
    for number, line in enumerate(title):
        _text(sheet, (3 * _CELL // 2, top + 4 + 16 * number), line, "black", centred=True)
    for axis in range(3):
        across, up = (n for n in range(3) if n != axis)
        cut = partial(_plane, axis=axis, place=place[axis])
        grey = (
            np.clip((cut(preview.image).astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)
            * 255
        )
        size = _fit(grey.shape, (preview.spacing[up], preview.spacing[across]))
        picture = np.asarray(_resized(grey, size)).astype(np.uint8)[..., None].repeat(3, 2)
        for rank, index in enumerate(names, 1):
            for volume, dashed in ((preview.mask, False), (preview.label, True)):
                if volume is not None:
                    picture[_contour(cut(volume) == index, size, dashed)] = _colour(rank)
        left = axis * _CELL + (_CELL - size[0]) // 2
        sheet.paste(Image.fromarray(picture), (left, top + _TITLE + (_ROW - _TITLE - size[1]) // 2))


def _plane(volume: NDArray[Any], axis: int, place: int) -> NDArray[Any]:
    """One plane, its second axis upwards."""
    return np.asarray(np.take(volume, place, axis=axis).T[::-1])


def _fit(shape: Sequence[int], spacing: tuple[float, float]) -> tuple[int, int]:
    """Width and height in pixels of a plane in its cell: it shows mm."""
    height, width = shape[0] * spacing[0], shape[1] * spacing[1]
    scale = min((_CELL - 10) / width, (_ROW - _TITLE - 6) / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(plane: NDArray[Any], size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)


def _contour(inside: NDArray[np.bool_], size: tuple[int, int], dashed: bool) -> NDArray[np.bool_]:
    """Pixels along the edge of a structure, inside of it; every other few of them if dashed."""
    large = np.asarray(_resized(inside, size)) > 0.5
    edge = large & ~binary_erosion(large)
    if dashed:
        edge &= np.add.outer(*map(np.arange, edge.shape)) // 4 % 2 == 0
    return np.asarray(edge)


def _draw_legend(sheet: Image.Image, top: int, names: Mapping[int, str], reference: bool) -> None:
    draw = ImageDraw.Draw(sheet)
    entries = [(_colour(rank), name) for rank, name in enumerate(names.values(), 1)]
    entries += [(ImageColor.getrgb("white"), "reference, dashed")] if reference else []
    if not entries:
        return
    width = 3 * _CELL // len(entries)
    draw.rectangle((0, top + 6, 3 * _CELL, top + _LEGEND - 6), fill=(77, 77, 77))
    for number, (colour, name) in enumerate(entries):
        draw.line(
            (number * width + 10, top + _LEGEND // 2, number * width + 32, top + _LEGEND // 2),
            colour,
            2,
        )
        _text(sheet, (number * width + 40, top + 12), name.splitlines()[0] if name else "", "white")


def _text(
    sheet: Image.Image, place: tuple[int, int], text: str, colour: str, centred: bool = False
) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    shift = draw.textlength(text, font) / 2 if centred else 0.0
    draw.text((place[0] - shift, place[1]), text, colour, font)


def _centre(mask: NDArray[Any]) -> tuple[int, ...]:
    """The planes that cut the most of the mask; the middle of the volume if it is empty."""
    found = mask > 0
    if not found.any():
        return tuple(n // 2 for n in mask.shape)
    others = [tuple(b for b in range(3) if b != axis) for axis in range(3)]
    return tuple(int(np.argmax(found.sum(axis=axes))) for axes in others)
