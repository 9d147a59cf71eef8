"""Sizes of labels: volumes of scans and areas of 2-D images, in mm or in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from monai_semiseg.images.grid import Unit


@dataclass(frozen=True)
class SizeKind:
    """Say what a size is, and how it is written.

    Attributes:
        key: of the range over the training labels, in a plan; it has the unit beside it.
        field: of a result, and in the report's JSON.
        column: its name, after the label's name.
        unit: behind a number.
        digits: of a number in a text.
        column_digits: of a number in a column.
    """

    key: str
    field: str
    column: str
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
VOLUME_PX = SizeKind("volume_px", "volume_px", "voxels", "voxels", 0, 0)
AREA_MM2 = SizeKind("area", "area_mm2", "area_mm2", "mm2", 1, 4)
AREA_PX = SizeKind("area", "area_px", "area_px", "px", 0, 0)
KINDS = (VOLUME_ML, VOLUME_PX, AREA_MM2, AREA_PX)


def size_kind(spatial_dims: int, unit: Unit) -> SizeKind:
    """Return the kind of the sizes of labels in images of 2 or 3 dimensions."""
    if spatial_dims == 3:
        return VOLUME_ML if unit == "mm" else VOLUME_PX
    return AREA_MM2 if unit == "mm" else AREA_PX


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
