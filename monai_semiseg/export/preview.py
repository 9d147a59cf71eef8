"""Previews: three planes through the largest segment, in radiological convention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_semiseg.export.legend import (
    PALE,
    draw_legend,
    entries,
    legend_height,
    legend_lines,
    shortened,
    text,
)
from monai_semiseg.export.palette import GREYS, ClassPalette
from monai_semiseg.export.radiological import VIEWS, View, caption, nearest_ras, plane, spacing_of
from monai_semiseg.export.window import grey_window
from monai_semiseg.storage.files import atomic_path

# Pixels.
_CELL = 300  # a plane with its letters
_MARGIN = 28  # room for the letters
_TITLE = 92  # room for the title and captions
_WIDTH = 3 * _CELL
_ROW = _TITLE + _CELL
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Preview:
    """One scan to picture.

    Attributes:
        title: above the three planes, at most two lines.
        image: voxels, shape ``(i, j, k)``.
        mask: predicted label map of the same shape.
        affine: 4x4, voxel to mm in RAS.
        label: reference label map, drawn dashed, if there is one.
    """

    title: str
    image: NDArray[Any]
    mask: NDArray[Any]
    affine: NDArray[np.float64]
    label: NDArray[Any] | None = None


def draw_previews(previews: Sequence[Preview], path: Path, names: Mapping[int, str]) -> Path:
    """Draw one row of three planes for every preview, and a legend of the classes in them.

    In radiological convention, whatever the order of the voxels: the patient's right on the left,
    anterior or superior up; letters mark the edges. A segment is filled lightly within its
    outline, the reference is dashed, a colour per class.

    Pillow draws it: for a folder of small scans, a plotting library would take longer than the
    network.
    """
    palette = ClassPalette(names)
    rows = [_Row(preview, palette) for preview in previews]
    seen = set[int]().union(*(row.seen for row in rows))
    reference = any(preview.label is not None for preview in previews)
    shown = [index for index in names if index in seen]
    legend = legend_lines(entries(names, shown, palette, reference), _WIDTH)
    below = _ROW * len(rows)
    sheet = Image.new("L", (_WIDTH, below + legend_height(legend)))  # of numbers of the palette
    for number, row in enumerate(rows):
        sheet.paste(row.picture, (0, number * _ROW))
    draw_legend(sheet, below, legend)
    sheet.putpalette(palette.table())
    with atomic_path(path) as part:
        sheet.save(part, format="png", compress_level=1)
    return path


class _Row:
    """Title and three planes of one scan.

    Attributes:
        picture: numbers of the palette's colours.
        seen: classes that are on it.
    """

    def __init__(self, preview: Preview, palette: ClassPalette) -> None:
        self.picture = Image.new("L", (_WIDTH, _ROW))
        self.palette = palette
        self.seen: set[int] = set()
        volumes = [preview.image, preview.mask, preview.label]
        (image, mask, self.label), self.affine = nearest_ras(volumes, preview.affine)
        if image is None or mask is None:
            raise ValueError("a preview needs an image and a mask")
        self.image = image
        self.mask = mask
        self.centre = _centre(mask if self.label is None or mask.any() else self.label)
        self.window = grey_window(image, mask)
        for number, line in enumerate(preview.title.splitlines()[:2]):
            line = shortened(line, 22, _WIDTH - 20)
            text(self.picture, (_WIDTH // 2, 8 + 28 * number), line, 22, anchor="ma")
        for number, view in enumerate(VIEWS):
            self._draw(view, number * _CELL)

    def _draw(self, view: View, left: int) -> None:
        grey = plane(self.image, view, self.centre[view.axis])
        size = _fit(grey.shape, spacing_of(view, self.affine))
        scan = _shaded(grey, self.window, size)
        picture = scan.copy()
        for volume, dashed in ((self.mask, False), (self.label, True)):
            if volume is not None:
                self._overlay(picture, scan, plane(volume, view, self.centre[view.axis]), dashed)
        corner = (left + (_CELL - size[0]) // 2, _TITLE + (_CELL - size[1]) // 2)
        self.picture.paste(Image.fromarray(picture), corner)
        self._letter(view, left)

    def _overlay(self, picture: Pixels, scan: Pixels, labels: NDArray[Any], dashed: bool) -> None:
        edges = []
        size = (scan.shape[1], scan.shape[0])
        for index in np.unique(labels).tolist():
            if index not in self.palette.slots:
                continue
            self.seen.add(index)
            inside = np.asarray(_resized((labels == index).astype(np.uint8) * 255, size)) > 127
            if not dashed:
                picture[inside] = self.palette.over(index, scan[inside])
            edges.append((_outline(inside, dashed), self.palette.pure(index)))
        for edge, colour in edges:  # after all fillings, which would dim those of neighbours
            picture[edge] = colour

    def _letter(self, view: View, left: int) -> None:
        """Write the caption above the plane, and letters of the patient's directions around it."""
        point = self.affine[:3, :3] @ self.centre + self.affine[:3, 3]
        middle = left + _CELL // 2
        centre = _TITLE + _CELL // 2
        edge = _MARGIN // 2
        text(
            self.picture,
            (middle, _TITLE - 26),
            caption(view, point, self.affine),
            18,
            PALE,
            "ma",
        )
        places = {
            view.left: (left + edge, centre),
            view.right: (left + _CELL - edge, centre),
            view.top: (middle, _TITLE + edge),
            view.bottom: (middle, _TITLE + _CELL - edge),
        }
        for letter, place in places.items():
            text(self.picture, place, letter, 26, anchor="mm")


def _shaded(grey: NDArray[Any], window: tuple[float, float], size: tuple[int, int]) -> Pixels:
    """Return the plane in greys of the palette."""
    low, high = window
    share = (grey.astype(np.float32) - low) / max(high - low, 1e-9)
    small = (np.clip(share, 0, 1) * (GREYS - 1)).astype(np.uint8)
    return np.asarray(_resized(small, size))


def _fit(shape: Sequence[int], spacing: tuple[float, float]) -> tuple[int, int]:
    """Return width and height in pixels of a plane in its cell, in proportion to mm."""
    height = shape[0] * spacing[0]
    width = shape[1] * spacing[1]
    scale = (_CELL - 2 * _MARGIN) / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(plane: Pixels, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)


def _outline(inside: NDArray[np.bool_], dashed: bool) -> NDArray[np.bool_]:
    """Return two pixels along the inside of a structure's edge, with gaps if dashed."""
    core = np.pad(inside, 2)
    for _ in range(2):
        core[1:-1, 1:-1] = (
            core[1:-1, 1:-1] & core[:-2, 1:-1] & core[2:, 1:-1] & core[1:-1, :-2] & core[1:-1, 2:]
        )
    edge = inside & ~core[2:-2, 2:-2]
    if dashed:
        edge &= np.add.outer(*map(np.arange, edge.shape)) // 5 % 2 == 0
    return np.asarray(edge)


def _centre(mask: NDArray[Any]) -> tuple[int, ...]:
    """Return the planes that cut most of the mask; the middle of the volume if it is empty."""
    found = mask > 0
    flat = np.any(found, axis=2)
    sides = (np.any(flat, axis=1), np.any(flat, axis=0), np.any(found, axis=(0, 1)))
    box = tuple(_span(side) for side in sides)
    if box[0].stop == 0:
        return tuple(n // 2 for n in mask.shape)
    inner = found[box]
    counts = [inner.sum(axis=axes, dtype=np.uint32) for axes in ((1, 2), (0, 2), (0, 1))]
    return tuple(
        side.start + int(np.argmax(count)) for side, count in zip(box, counts, strict=True)
    )


def _span(found: NDArray[Any]) -> slice:
    """Return the range from the first True value to the last; empty if there is none."""
    indices = np.flatnonzero(found)
    return slice(int(indices[0]), int(indices[-1]) + 1) if indices.size else slice(0, 0)
