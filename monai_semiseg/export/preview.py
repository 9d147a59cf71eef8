"""Quick looks: three planes through the largest segment, contours over the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.data.files import atomic_path


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
    """Draw one row of three planes for every preview; prediction solid, reference dashed, a colour per class."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(8.4, 3.0 * len(previews) + 0.4), layout="constrained")
    grid = figure.subplots(len(previews), 3, squeeze=False)
    for axes, preview in zip(grid, previews, strict=True):
        _draw_row(axes, preview, names)
    handles = [Line2D([], [], color=_colour(index), label=name) for index, name in names.items()]
    if any(preview.label is not None for preview in previews):
        handles.append(Line2D([], [], color="white", linestyle="--", label="reference"))
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=max(1, len(handles)), frameon=True,
                           facecolor="0.3", labelcolor="white", fontsize=8)  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name with $ is a name
    with atomic_path(path) as part:
        figure.savefig(part, dpi=100)
    return path


def _colour(index: int) -> str:
    """A colour that stands out from grey, by class index."""
    palette = ("#ff4d4d", "#ffb000", "#00d0ff", "#7dff4d", "#ff66e0", "#ffff4d", "#4d7dff", "#ff8c66")
    return palette[index % len(palette)]


def _draw_row(axes: Any, preview: Preview, names: Mapping[int, str]) -> None:
    place = _centre(preview.mask if preview.mask.any() or preview.label is None else preview.label)
    low, high = np.percentile(preview.image, (1, 99))
    for axis, plot in enumerate(axes):
        across, up = (n for n in range(3) if n != axis)

        def plane(volume: NDArray[Any], axis: int = axis) -> NDArray[Any]:
            return np.asarray(np.take(volume, place[axis], axis=axis).T)

        ratio = preview.spacing[up] / preview.spacing[across]
        plot.imshow(plane(preview.image), cmap="gray", origin="lower", aspect=ratio, vmin=low, vmax=max(high, low + 1))
        for index in names:
            for volume, style in ((preview.mask, "-"), (preview.label, "--")):
                if volume is not None and min(plane(volume).shape) > 1 and (plane(volume) == index).any():
                    plot.contour(plane(volume) == index, [0.5], colors=_colour(index), linestyles=style, linewidths=1.0)
        plot.set_axis_off()
    axes[1].set_title(preview.title, fontsize=9, parse_math=False)


def _centre(mask: NDArray[Any]) -> tuple[int, ...]:
    """The planes that cut the most of the mask; the middle of the volume if it is empty."""
    found = mask > 0
    if not found.any():
        return tuple(n // 2 for n in mask.shape)
    others = [tuple(b for b in range(3) if b != axis) for axis in range(3)]
    return tuple(int(np.argmax(found.sum(axis=axes))) for axes in others)
