"""Picture of a selection: the map of all scans, the chosen ones marked, and shown beside it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.errors import InputError
from monai_semiseg.export.palette import GREYS
from monai_semiseg.export.radiological import drawn_size, is_picture, nearest_ras, plane, views_of
from monai_semiseg.export.shown_channels import select_channels
from monai_semiseg.images.volume import collect_warnings
from monai_semiseg.labelling.selection import Selection
from monai_semiseg.storage.files import atomic_path

_MOST_SHOWN = 24
_COLUMNS = 6
_PIXELS = 128  # longer side of a thumbnail
_LETTERS = 22  # of a title
_OTHERS = "#999999"
_APART = "#D55E00"
_LABELLED = "#0072B2"
_CHOSEN = "#000000"


def draw_selection(selection: Selection, dataset: ScanDataset, path: Path) -> Path:
    """Draw all scans as points, near ones alike, and a thumbnail of each chosen one.

    Numbers are the ranks. Of a scan the middle plane is shown in radiological convention, of a
    picture all. At most 24 thumbnails are drawn.
    """
    from matplotlib.figure import Figure

    shown = [one.case for one in selection.chosen[:_MOST_SHOWN]]
    rows = math.ceil(len(shown) / _COLUMNS)
    figure = Figure(figsize=(9, 4.5 + 1.6 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, _COLUMNS, height_ratios=[4.5, *[1.6] * rows])
    _draw_map(figure.add_subplot(grid[0, :]), selection)
    for number, case in enumerate(shown):
        axes = figure.add_subplot(grid[1 + number // _COLUMNS, number % _COLUMNS])
        _draw_thumbnail(axes, f"{number + 1}  {case.id}", dataset, case)
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=110, metadata={"Software": None})
    return path


def _draw_map(axes: Any, selection: Selection) -> None:
    """Draw the scans by what became of them."""
    chosen = [one.case.id for one in selection.chosen]
    apart = [name for name in selection.apart if name in selection.map]
    named = {*chosen, *apart, *selection.labelled}
    others = [name for name in selection.map if name not in named]
    for ids, colour, mark, label in (
        (others, _OTHERS, ".", "not chosen"),
        (apart, _APART, "x", "set apart"),
        (selection.labelled, _LABELLED, "s", "has a label"),
        (chosen, _CHOSEN, "o", "to label"),
    ):
        if ids:
            x, y = zip(*(selection.map[name] for name in ids), strict=True)
            axes.scatter(x, y, color=colour, marker=mark, label=f"{label} ({len(ids)})", s=24)
    for rank, name in enumerate(chosen, 1):
        axes.annotate(str(rank), selection.map[name], xytext=(5, 4), textcoords="offset points")
    axes.set_title(f"{len(selection.map)} scans, {selection.strategy}", fontsize=10)
    axes.set_xlabel("first principal component of the features")
    axes.set_ylabel("second")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_thumbnail(axes: Any, title: str, dataset: ScanDataset, case: DatasetCase) -> None:
    axes.set_axis_off()
    short = title if len(title) <= _LETTERS else f"{title[: _LETTERS - 1]}…"
    axes.set_title(short, fontsize=7, parse_math=False)
    try:
        pixels = thumbnail(dataset, case)
    except InputError:  # it was read a moment ago
        return
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255 if pixels.ndim == 3 else GREYS - 1)


def thumbnail(dataset: ScanDataset, case: DatasetCase) -> NDArray[np.uint8]:
    """Return the middle plane of an image as 8-bit pixels, ``(rows, columns[, 3])``.

    Raises:
        InputError: If the image cannot be read.
    """
    with collect_warnings():
        image = dataset.read_image(case)
    nothing = np.zeros(image.shape, np.uint8)
    channels = select_channels(image.array, nothing, image.channels)
    turned, affine = nearest_ras(channels.volumes, image.affine)
    volumes = [volume for volume in turned if volume is not None]
    view = views_of(volumes[0].shape, is_picture(image.meta))[0]
    middle = volumes[0].shape[view.axis] // 2
    planes = [plane(volume, view, middle) for volume in volumes]
    return channels.draw(planes, drawn_size(planes[0].shape, view, affine, _PIXELS))
