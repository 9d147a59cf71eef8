"""Indices and colours of pictures with a palette."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Palette:
    """A palette picture, before its indices become colours.

    Attributes:
        indices: index of every pixel, shape ``(columns, rows, 1)`` as in a
            :class:`~monai_semiseg.images.volume.Volume`.
        colours: red, green and blue of every index, shape ``(entries, 3)``, 0 to 255.
    """

    indices: NDArray[np.uint8]
    colours: NDArray[np.uint8]

    @property
    def grey(self) -> bool:
        """Return True if every entry of the palette is grey."""
        return bool((self.colours == self.colours[:, :1]).all())

    @property
    def used(self) -> dict[int, str]:
        """Return index -> ``#rrggbb`` of the indices that occur."""
        found = np.unique(self.indices).tolist()
        return {index: "#" + self.colours[index].tobytes().hex() for index in found}


def read_palette(path: Path) -> Palette | None:
    """Read the palette of a picture that can be decoded; None if it has none."""
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode != "P":
            return None
        indices = np.asarray(picture, dtype=np.uint8).T[..., None]
        entries = np.asarray(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    # Files may name fewer colours than their pixels use: the others are black.
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(entries)] = entries
    return Palette(np.ascontiguousarray(indices), colours)
