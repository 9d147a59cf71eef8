"""Text on a picture, and a legend that can be read in a thumbnail."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from monai_semiseg.export.palette import GREYS, ClassPalette

LEGEND_FONT = 38  # pixels: capitals are 6 high where 900 pixels of width become 200
_LINE = 50  # height of a line, pixels
_SWATCH = 38  # side of a coloured box, pixels
_GAP = 10  # pixels
_MOST_LINES = 4
WHITE = GREYS - 1
PALE = int(0.7 * GREYS)
Entry = tuple[int, str, bool]  # colour, text, dashed


def entries(
    names: Mapping[int, str], shown: Iterable[int], palette: ClassPalette, reference: bool
) -> list[Entry]:
    """Return the entries of the legend: the classes that are shown, and the reference."""
    listed = [(palette.pure(n), (names[n].splitlines() or [""])[0], False) for n in shown]
    return listed + ([(WHITE, "reference", True)] if reference else [])


def legend_lines(listed: Sequence[Entry], width: int) -> list[list[Entry]]:
    """Break the legend into four lines at most; count the entries that do not fit."""
    lines: list[list[Entry]] = [[]]
    used = 0
    left_out = 0
    for colour, words, dashed in listed:
        words = shortened(words, LEGEND_FONT, width - _SWATCH - 3 * _GAP)
        wide = _width(words)
        if used + wide > width and lines[-1]:
            if len(lines) == _MOST_LINES:
                left_out += 1
                continue
            lines.append([])
            used = 0
        lines[-1].append((colour, words, dashed))
        used += wide
    if left_out:
        lines.append([(0, f"and {left_out} more", False)])
    return lines if lines[0] else []


def legend_height(lines: Sequence[Sequence[Entry]]) -> int:
    """Return the height of the legend in pixels."""
    return len(lines) * _LINE + (2 * _GAP if lines else 0)


def draw_legend(sheet: Image.Image, top: int, lines: Sequence[Sequence[Entry]]) -> None:
    """Draw filled or dashed boxes and their names, from ``top`` downwards."""
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        left = _GAP
        y = top + _GAP + number * _LINE
        for colour, words, dashed in line:
            box = (left, y + 4, left + _SWATCH, y + 4 + _SWATCH)
            if dashed:
                for x in range(left, left + _SWATCH, 15):
                    draw.rectangle((x, y + 20, x + 7, y + 26), fill=colour)
            else:
                draw.rectangle(box, fill=colour)
            text(sheet, (left + _SWATCH + _GAP, y + 2), words, LEGEND_FONT)
            left += _width(words)


def text(
    sheet: Image.Image,
    place: tuple[int, int],
    words: str,
    size: int,
    colour: int = WHITE,
    anchor: str = "la",
) -> None:
    """Write one line of text on a picture; ``anchor`` as Pillow has it."""
    ImageDraw.Draw(sheet).text(place, _drawable(words), colour, font(size), anchor=anchor)


def shortened(words: str, size: int, width: int) -> str:
    """Cut a line that is wider than ``width`` pixels, and end it with an ellipsis."""
    if _length(words, size) <= width:
        return words
    low = 0
    high = len(words)
    while low < high:
        middle = (low + high + 1) // 2
        fits = _length(f"{words[:middle]}…", size) <= width
        if fits:
            low = middle
        else:
            high = middle - 1
    return f"{words[:low]}…"


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font, which every machine has."""
    return ImageFont.load_default(size)


def _length(words: str, size: int) -> float:
    return font(size).getlength(_drawable(words))


def _width(words: str) -> int:
    return _SWATCH + 3 * _GAP + round(_length(words, LEGEND_FONT))


def _drawable(words: str) -> str:
    """Return text without surrogates, which stand for bytes that are not UTF-8 in file names."""
    return words.encode("utf-8", "replace").decode()
