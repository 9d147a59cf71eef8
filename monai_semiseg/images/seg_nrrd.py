"""Segmentations of 3D Slicer (.seg.nrrd): label numbers and names, in one layer or several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import FormatError, LabelError
from monai_semiseg.images.itk_data import header_text
from monai_semiseg.images.itk_file import itk_metadata, read_itk
from monai_semiseg.images.volume import Volume


@dataclass(frozen=True)
class Segment:
    """One segment of a file.

    Attributes:
        name: its name.
        value: its number within its layer.
        layer: its layer, from 0. Segments of several layers may overlap.
        number: its number in the label map: the value, if no other segment has it.
    """

    name: str
    value: int
    layer: int
    number: int


def is_segmentation(path: Path) -> bool:
    """Return True if an NRRD file's header describes segments."""
    return b"Segment0_" in header_text(path)


def read_segments(path: Path) -> list[Segment]:
    """Read the segments of a .seg.nrrd file from its header.

    Raises:
        FormatError: If the header describes none.
    """
    fields = itk_metadata(path)
    found: list[Segment] = []
    while (prefix := f"Segment{len(found)}_") + "ID" in fields or prefix + "Name" in fields:
        name = fields.get(prefix + "Name") or fields[prefix + "ID"]
        try:
            value = int(fields.get(prefix + "LabelValue", 1))
            layer = int(fields.get(prefix + "Layer", 0))
        except ValueError as error:
            raise _no_segments(path) from error
        found.append(Segment(name, value, layer, value))
    if not found:
        raise _no_segments(path)
    if len({segment.value for segment in found}) < len(found):  # each layer has its own numbers
        return [replace(segment, number=number) for number, segment in enumerate(found, 1)]
    return found


def read_segmentation(path: Path) -> tuple[Volume, dict[int, str]]:
    """Read a .seg.nrrd file as one label map.

    Returns:
        The map, 0 where no segment is, and the name of each number.

    Raises:
        LabelError: If segments of several layers overlap, or voxels belong to no segment.
        InputError: As :func:`~monai_semiseg.images.itk_file.read_itk`.
    """
    segments = read_segments(path)
    volume = read_itk(path)
    layers = volume.array if volume.channels else volume.array[..., np.newaxis]
    array = np.zeros(volume.shape, np.uint8 if len(segments) < 256 else np.uint16)
    if max(segment.number for segment in segments) > np.iinfo(array.dtype).max:
        array = array.astype(np.uint16)
    for segment in segments:
        _add(array, segment, segments, layers, path)
    _require_named(layers, segments, path)
    names = {segment.number: segment.name for segment in segments}
    return replace(volume, array=array, channels=()), names


def _add(
    array: NDArray[np.generic],
    segment: Segment,
    segments: list[Segment],
    layers: NDArray[np.generic],
    path: Path,
) -> None:
    """Write a segment's number into the map, where no other one is."""
    if segment.layer >= layers.shape[-1]:
        raise _no_segments(path)
    mask = layers[..., segment.layer] == segment.value
    taken = array[mask]
    if taken.any():
        other = next(one.name for one in segments if one.number == taken[taken > 0][0])
        raise LabelError(
            f"{int((taken > 0).sum())} voxels belong to {other!r} and to {segment.name!r}",
            expected="segments that do not overlap",
            remedy="let one segment overwrite the other (3D Slicer: overwrite other segments)",
            path=path,
        )
    array[mask] = segment.number


def _require_named(layers: NDArray[np.generic], segments: list[Segment], path: Path) -> None:
    for number in range(layers.shape[-1]):
        known = [0, *(one.value for one in segments if one.layer == number)]
        other = layers[..., number][~np.isin(layers[..., number], known)]
        if other.size:
            raise LabelError(
                f"{other.size} voxels of the value {other[0]}, which no segment has",
                expected=f"the values {known} in layer {number}",
                path=path,
            )


def _no_segments(path: Path) -> FormatError:
    return FormatError(
        "a header whose descriptions of segments are missing or damaged",
        expected="a .seg.nrrd file of 3D Slicer",
        remedy="save the segmentation again, or export it as a label map",
        path=path,
    )
