"""Sizes of labels: volumes of scans, and areas of 2-D images, in mm2 or in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SizeKind:
    """What a size is, and how it is written.

    Attributes:
        key: of the range over the training labels, in a plan.
        field: of a result, and in the report's JSON.
        suffix: of a column, after the label's name.
        unit: behind a number.
        digits: of a number in a text.
        column_digits: of a number in a column.
    """

    key: str
    field: str
    suffix: str
    unit: str
    digits: int
    column_digits: int

    def text(self, size: float) -> str:
        """Return a size with its unit."""
        return f"{size:.{self.digits}f} {self.unit}"

    def span(self, low: float, high: float) -> str:
        """Return a range of sizes with its unit."""
        return f"{low:.{self.digits}f}-{self.text(high)}"


VOLUME_ML = SizeKind("volume_ml", "volumes_ml", "ml", "mL", 2, 4)
AREA_MM2 = SizeKind("area_mm2", "area_mm2", "area_mm2", "mm2", 1, 4)
AREA_PX = SizeKind("area_px", "area_px", "area_px", "px", 0, 0)
KINDS = (VOLUME_ML, AREA_MM2, AREA_PX)


@dataclass(frozen=True)
class LabelSizes(Mapping[str, float]):
    """Name -> size, all of one kind.

    Attributes:
        kind: of the sizes.
        by_name: the sizes.
    """

    kind: SizeKind = VOLUME_ML
    by_name: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def text(self) -> str:
        """Return all sizes in one line."""
        return ", ".join(f"{name} {self.kind.text(size)}" for name, size in self.items())
