"""Palette of 256 colours: greys, and for every class its colour, pure and over grey."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

GREYS = 128
_OPACITY = 0.3  # of a class over the scan
_MOST_LEVELS = 48
# Colours that stand out from grey and from each other.
_COLOURS = (
    "#ffb000",
    "#00d0ff",
    "#ff4d4d",
    "#7dff4d",
    "#ff66e0",
    "#ffff4d",
    "#4d7dff",
    "#ff8c66",
    "#b266ff",
    "#00b386",
    "#ffd9b3",
    "#a3d9ff",
    "#c8ff99",
    "#ff99c8",
    "#d9b3ff",
    "#b3b300",
)


def class_colours(indices: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Return red, green and blue, 0 to 255, of every class; after 16 classes they repeat."""
    codes = {index: _COLOURS[n % len(_COLOURS)] for n, index in enumerate(indices)}
    return {index: ImageColor.getrgb(code)[:3] for index, code in codes.items()}


class ClassPalette:
    """Numbers of colours: 0 to 127 are black to white, the others are of classes.

    A picture of such numbers is written four times as fast as an RGB picture.

    Args:
        indices: of the classes; each gets a colour by its place, and after 16 they repeat.
    """

    def __init__(self, indices: Iterable[int]) -> None:
        self.slots = {index: n % len(_COLOURS) for n, index in enumerate(indices)}
        self._count = min(len(self.slots), len(_COLOURS))
        free = 256 - GREYS - self._count
        self._levels = min(_MOST_LEVELS, free // max(1, self._count))

    def pure(self, index: int) -> int:
        """Return the number of a class's colour."""
        return GREYS + self.slots[index]

    def over(self, index: int, greys: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the numbers of a class's colour, laid lightly over greys (0 to 127)."""
        first = GREYS + self._count + self.slots[index] * self._levels
        return np.asarray(first + greys.astype(np.uint16) * self._levels // GREYS, dtype=np.uint8)

    def table(self) -> list[int]:
        """Return red, green and blue of every number, as Pillow's ``putpalette`` takes them."""
        pure = np.array([ImageColor.getrgb(code) for code in _COLOURS[: self._count]])
        pure = pure.reshape(-1, 1, 3)
        grey = np.linspace(0, 255, self._levels).reshape(1, -1, 1)
        mixed = _OPACITY * pure + (1 - _OPACITY) * grey
        greys = np.linspace(0, 255, GREYS)[:, None].repeat(3, 1)
        parts = (greys, pure.reshape(-1, 3), mixed.reshape(-1, 3))
        return [int(value) for value in np.concatenate(parts).ravel()]


class ClassInk:
    """Colours of classes on a picture that is in colour itself.

    Args:
        palette: of the same sheet, so that a class has one colour.
    """

    def __init__(self, palette: ClassPalette) -> None:
        self.slots = palette.slots

    def pure(self, index: int) -> NDArray[np.uint8]:
        """Return red, green and blue of a class."""
        return np.array(ImageColor.getrgb(_COLOURS[self.slots[index]]), dtype=np.uint8)

    def over(self, index: int, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return pixels ``(n, 3)`` with the class's colour laid lightly over them."""
        table = _OPACITY * self.pure(index) + (1 - _OPACITY) * np.arange(256)[:, None]
        return np.asarray(table.astype(np.uint8)[pixels, [0, 1, 2]])
