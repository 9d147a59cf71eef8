"""Pixel sizes of TIFF files, in mm: of OME and ImageJ, or of the resolution tags."""

from __future__ import annotations

import html
import math
import re
from pathlib import Path
from typing import Any

from monai_semiseg.images.volume import warn

_MILLIMETRES = {
    "inch": 25.4,
    "m": 1e3,
    "cm": 10.0,
    "mm": 1.0,
    "um": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "nm": 1e-6,
    "pixel": 0.0,
}
_RESOLUTION_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "um"}
_SCREEN_DPI = (72.0, 96.0)  # what programs write that know no pixel size


def pixel_size(file: Any, page: Any, path: Path) -> tuple[float, float, float] | None:
    """Return the pixel size along columns, rows and pages, in mm; None if the file says none.

    The distance of the pages is 0 if only that is not known.

    Args:
        file: a ``tifffile.TiffFile``.
        page: its first page.
        path: the file, for the remark.
    """
    if file.is_ome:
        return _of_ome(file.ome_metadata or "")
    per_unit = [_ratio(page.tags.valueof(tag)) for tag in (282, 283)]
    unit = _RESOLUTION_UNITS.get(int(page.tags.valueof(296, 2)), "")
    between = 0.0
    if file.is_imagej:
        imagej = file.imagej_metadata or {}
        unit = _plain(str(imagej.get("unit", ""))) or unit
        between = float(imagej.get("spacing", 0.0)) * _MILLIMETRES.get(unit, 0.0)
    millimetres = _MILLIMETRES.get(unit, 0.0)
    if not millimetres or not all(per_unit):
        return None
    if unit == "inch" and all(round(dots, 2) in _SCREEN_DPI for dots in per_unit):
        warn(path, "W_SPACING", f"{per_unit[0]:g} dpi is a screen's value: lengths are in pixels")
        return None
    return millimetres / per_unit[0], millimetres / per_unit[1], abs(between)


def _of_ome(text: str) -> tuple[float, float, float] | None:
    sizes = [_ome_size(text, axis) for axis in "XYZ"]
    return (sizes[0], sizes[1], sizes[2]) if sizes[0] and sizes[1] else None


def _ome_size(text: str, axis: str) -> float:
    found = re.search(rf'PhysicalSize{axis}="([^"]+)"', text)
    named = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
    # Micrometres if OME names no unit.
    unit = _plain(html.unescape(named.group(1))) if named else "um"
    try:
        size = float(found.group(1)) if found else 0.0
    except ValueError:
        return 0.0
    return size * _MILLIMETRES.get(unit, 0.0) if math.isfinite(size) and size > 0 else 0.0


def _plain(unit: str) -> str:
    """Return a unit with ``u`` for micro, which has two characters in Unicode."""
    decoded = unit.replace("\\u00B5", "u").replace("\\u00b5", "u")
    return re.sub("[\u00b5\u03bc]", "u", decoded).lower()


def _ratio(value: Any) -> float:
    """Return a rational tag's value; 0 if it is absent or no number above zero."""
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return 0.0
    return max(0.0, float(value[0]) / float(value[1]))
