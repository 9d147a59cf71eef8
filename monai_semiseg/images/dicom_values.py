"""Values of DICOM elements as numbers or as text."""

from __future__ import annotations

from typing import Any

import pydicom


def _values(dataset: pydicom.Dataset, tag: int | str) -> list[Any]:
    element = dataset.get(tag)
    value = element.value if isinstance(element, pydicom.DataElement) else element
    if value is None or value == "":
        return []
    several = hasattr(value, "__iter__") and not isinstance(value, str | bytes)
    return list(value) if several else [value]


def numbers_of(dataset: pydicom.Dataset, tag: int | str) -> tuple[float, ...]:
    """Return the values of a tag as numbers; none if it is absent or empty."""
    return tuple(float(value) for value in _values(dataset, tag))


def text_of(dataset: pydicom.Dataset, tag: int | str) -> str:
    """Return the values of a tag joined by backslashes; numbers have nine digits."""
    return "\\".join(
        f"{float(value):.9g}" if isinstance(value, float | int) else str(value).strip()
        for value in _values(dataset, tag)
    )
