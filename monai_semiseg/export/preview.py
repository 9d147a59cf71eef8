"""Previews: three planes through the largest segment of a scan, and 2-D images whole."""

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
from monai_semiseg.export.palette import ClassInk, ClassPalette
from monai_semiseg.export.radiological import (
    View,
    caption,
    drawn_size,
    is_picture,
    nearest_ras,
    plane,
    views_of,
)
from monai_semiseg.export.shown_channels import (
    ShownChannels,
    resized,
    select_channels,
    shows_colour,
)
from monai_semiseg.storage.files import atomic_path

# Pixels.
_CELL = 300  # a plane with its letters
_MARGIN = 28  # room for the letters
_TITLE = 92  # room for the title and captions
_SIDES = (300, 600)  # shortest and longest of the longer side of a 2-D image
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Preview:
    """One scan to picture.

    Attributes:
        title: above the planes, at most two lines.
        image: voxels, shape ``(i, j, k)``, or ``(i, j, k, channels)``.
        mask: predicted label map of the same shape.
        affine: 4x4, voxel to mm in RAS.
        label: reference label map, drawn dashed, if there is one.
        channels: names of the image's channels, if it has several.
        shown: channels to show, see
            :func:`~monai_semiseg.export.shown_channels.select_channels`.
        is_picture: show the image as a viewer does: a photograph has no patient's right or left.
    """

    title: str
    image: NDArray[Any]
    mask: NDArray[Any]
    affine: NDArray[np.float64]
    label: NDArray[Any] | None = None
    channels: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    is_picture: bool = False

    @property
    def in_colour(self) -> bool:
        """Return True if the image is shown in colours."""
        return self.image.ndim == 4 and shows_colour(self.channels, self.shown)

    @classmethod
    def of_image(
        cls,
        title: str,
        image: NDArray[Any],
        mask: NDArray[Any],
        affine: NDArray[np.float64],
        meta: Mapping[str, Any],
        **more: Any,
    ) -> Preview:
        """Return the preview of an image with the metadata of its reader."""
        channels = tuple(meta.get("channels") or ())
        return cls(
            title, image, mask, affine, channels=channels, is_picture=is_picture(meta), **more
        )


def draw_previews(previews: Sequence[Preview], path: Path, names: Mapping[int, str]) -> Path:
    """Draw one row for every preview, and a legend of the classes in them.

    A row has three planes of a scan, or one of a 2-D image. In radiological convention, whatever
    the order of the voxels: the patient's right on the left, anterior or superior up; letters mark
    the edges. Pictures are shown as they were taken. A segment is filled lightly within its
    outline, the reference is dashed, a colour per class.

    A path that ends with ``.jpg`` gives a JPEG: for colours, a PNG takes ten times as long.
    Pillow draws it: for a folder of small scans, a plotting library would take longer than the
    network.
    """
    palette = ClassPalette(names)
    rows = [_Row(preview, palette) for preview in previews]
    seen = set[int]().union(*(row.seen for row in rows))
    reference = any(preview.label is not None for preview in previews)
    shown = [index for index in names if index in seen]
    width = max(row.picture.width for row in rows)
    legend = legend_lines(entries(names, shown, palette, reference), width)
    below = sum(row.picture.height for row in rows)
    sheet = Image.new("L", (width, below + legend_height(legend)))  # of numbers of the palette
    tops = np.cumsum([0, *(row.picture.height for row in rows)]).tolist()
    for top, row in zip(tops, rows, strict=False):
        sheet.paste(row.picture, (0, top))
    draw_legend(sheet, below, legend)
    sheet.putpalette(palette.table())
    if any(row.colour for row in rows):
        sheet = sheet.convert("RGB")
    for top, row in zip(tops, rows, strict=False):
        for (left, down), picture in row.colour:
            sheet.paste(picture, (left, top + down))
    with atomic_path(path) as part:
        if path.suffix == ".jpg":
            sheet.convert("RGB").save(part, format="jpeg", quality=90, subsampling=0)
        else:
            sheet.save(part, format="png", compress_level=1)
    return path


class _Row:
    """Title and planes of one image.

    Attributes:
        picture: numbers of the palette's colours.
        colour: planes that are in colour, and their places on the picture.
        seen: classes that are on it.
    """

    def __init__(self, preview: Preview, palette: ClassPalette) -> None:
        self.palette = palette
        self.seen: set[int] = set()
        self.colour: list[tuple[tuple[int, int], Image.Image]] = []
        image = select_channels(preview.image, preview.mask, preview.channels, preview.shown)
        volumes = [preview.mask, preview.label, *image.volumes]
        (mask, self.label, *channels), self.affine = nearest_ras(volumes, preview.affine)
        if mask is None:
            raise ValueError("a preview needs a mask")
        self.mask = mask
        self.image = ShownChannels(
            tuple(channel for channel in channels if channel is not None), image.windows
        )
        self.centre = centre_of(mask if self.label is None or mask.any() else self.label)
        self.views = views_of(mask.shape, preview.is_picture)
        self.is_flat = len(self.views) == 1
        self.picture = Image.new("L", self._size())
        width = self.picture.width
        for number, line in enumerate(preview.title.splitlines()[:2]):
            line = shortened(line, 22, width - 20)
            text(self.picture, (width // 2, 8 + 28 * number), line, 22, anchor="ma")
        for number, view in enumerate(self.views):
            self._draw(view, number * _CELL)

    def _size(self) -> tuple[int, int]:
        """Return width and height of the row."""
        if not self.is_flat:
            return len(self.views) * _CELL, _TITLE + _CELL
        return _SIDES[1] + 2 * _MARGIN, _TITLE + self._plane_size(self.views[0])[1] + 2 * _MARGIN

    def _plane_size(self, view: View) -> tuple[int, int]:
        """Return width and height in pixels of a plane, in proportion to mm."""
        shape = plane(self.mask, view, self.centre[view.axis]).shape
        side = _longer_side(max(shape)) if self.is_flat else _CELL - 2 * _MARGIN
        return drawn_size(shape, view, self.affine, side)

    def _draw(self, view: View, left: int) -> None:
        position = self.centre[view.axis]
        size = self._plane_size(view)
        scan = self.image.draw([plane(one, view, position) for one in self.image.volumes], size)
        picture = scan.copy()
        for volume, dashed in ((self.mask, False), (self.label, True)):
            if volume is not None:
                self._overlay(picture, scan, plane(volume, view, position), dashed)
        cell = self.picture.width // len(self.views), self.picture.height - _TITLE
        corner = (left + (cell[0] - size[0]) // 2, _TITLE + (cell[1] - size[1]) // 2)
        if self.image.in_colour:
            self.colour.append((corner, Image.fromarray(picture)))
        else:
            self.picture.paste(Image.fromarray(picture), corner)
        self._letter(view, (left + cell[0] // 2, _TITLE + cell[1] // 2), size)

    def _overlay(self, picture: Pixels, scan: Pixels, labels: NDArray[Any], dashed: bool) -> None:
        ink = ClassInk(self.palette) if self.image.in_colour else self.palette
        edges = []
        size = (scan.shape[1], scan.shape[0])
        for index in np.unique(labels).tolist():
            if index not in self.palette.slots:
                continue
            self.seen.add(index)
            inside = np.asarray(resized((labels == index).astype(np.uint8) * 255, size)) > 127
            if not dashed:
                picture[inside] = ink.over(index, scan[inside])
            edges.append((_outline(inside, dashed), ink.pure(index)))
        for edge, colour in edges:  # after all fillings, which would dim those of neighbours
            picture[edge] = colour

    def _letter(self, view: View, middle: tuple[int, int], size: tuple[int, int]) -> None:
        """Write the caption above the plane, and letters of the patient's directions around it."""
        if not view.flipped:
            return
        point = self.affine[:3, :3] @ self.centre + self.affine[:3, 3]
        words = caption(view, point, self.affine)
        text(self.picture, (middle[0], _TITLE - 26), words, 18, PALE, "ma")
        across, down = self._to_letters(size)
        places = {
            view.left: (middle[0] - across, middle[1]),
            view.right: (middle[0] + across, middle[1]),
            view.top: (middle[0], middle[1] - down),
            view.bottom: (middle[0], middle[1] + down),
        }
        for letter, place in places.items():
            text(self.picture, place, letter, 26, anchor="mm")

    def _to_letters(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the distance of the letters from the middle of a plane of the given size."""
        if self.is_flat:
            return size[0] // 2 + _MARGIN // 2, size[1] // 2 + _MARGIN // 2
        return _CELL // 2 - _MARGIN // 2, _CELL // 2 - _MARGIN // 2


def _longer_side(pixels: int) -> int:
    """Return the longer side of a 2-D image on the sheet: its own pixels if they fit.

    Small ones are enlarged by a whole number, so that a picture is written in little time.
    """
    least, most = _SIDES
    return min(most, pixels * -(-least // pixels))


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


def centre_of(mask: NDArray[Any]) -> tuple[int, ...]:
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
