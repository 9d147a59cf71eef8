"""Several volumes within one DICOM series, which differ in tags or places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydicom.dataset import Dataset

Tags = Callable[[int], dict[str, Any]]  # number of the slice -> tags


def volume(
    make: SimpleNamespace, folder: Path, name: str, tags: Tags | dict[str, Any], **shape: Any
) -> list[Path]:
    """Write one volume of the series 1.2.3 with ``tags`` in each slice."""

    def edit(data: Dataset, k: int) -> None:
        for tag, value in (tags(k) if callable(tags) else tags).items():
            if isinstance(tag, str):
                setattr(data, tag, value)
            else:  # private: number, VR
                data.add_new(tag[0], tag[1], value)

    return list(make.series(folder, uid="1.2.3", name=name + "_{}", edit=edit, **shape))


def several(*tags: Tags | dict[str, Any], **shape: Any) -> Callable[[SimpleNamespace, Path], None]:
    """Write volumes that differ in tags, all at the same positions."""

    def build(make: SimpleNamespace, folder: Path) -> None:
        for number, one in enumerate(tags):
            volume(make, folder, f"V{number}", one, **shape)

    return build


def kind(*words: str) -> dict[str, Any]:
    return {"ImageType": ["ORIGINAL", "PRIMARY", *words]}


def timed(start: int) -> Tags:
    """Return a time for each slice of an acquisition that begins at a second."""
    return lambda k: {"AcquisitionTime": f"1200{start + k:02}.5"}
