"""Reading of one image of any format, from one file or several, or of its grid alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monai_semiseg.errors import ChannelError, UnsupportedError
from monai_semiseg.images.channels import as_channels
from monai_semiseg.images.dicom_objects import DicomPart
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.parts import FilePart, Source, parts_of
from monai_semiseg.images.volume import (
    RGB,
    Volume,
    check_constant,
    check_field_of_view,
    check_finite,
)


def read_scan(
    source: Source,
    *,
    nonfinite: float | None = None,
    channels: Sequence[str] = (),
    stack_pages: bool = False,
    frame: int | None = None,
) -> Volume:
    """Read a file, a folder with one DICOM series, or a list of files.

    A list of the files of one DICOM series is one channel. In any other list, every file, folder or
    group of files of one series is a channel, in the order of first appearance.

    Args:
        source: file, folder or list.
        nonfinite: value that replaces NaN and Inf voxels; None refuses them.
        channels: names of the channels that the data set declares. They also say that the fourth
            axis of a file holds channels. By default, the file decides.
        stack_pages: read the pages of a TIFF as the slices of a 3-D scan.
        frame: number of the frame of a DICOM cine to read as a 2-D image, from 0.

    Raises:
        InputError: One of its subclasses, if the image cannot be read correctly.
    """
    parts = parts_of(source, frames=frame is not None)
    declared = channels if len(parts) == 1 else ()
    volumes: list[Volume] = []
    for part in parts:
        volume = _read(part, declared, stack_pages, frame)
        check_field_of_view(volume, part.path)
        check_finite(volume, part.path, nonfinite)
        volumes.append(volume)
    path = parts[0].path
    whole = volumes[0]
    if len(parts) > 1:
        whole = as_channels(volumes, [part.path for part in parts], channels)
    whole = _named(whole, channels, path)
    check_constant(whole, path)
    return whole


def read_grid(source: Source, *, channels: Sequence[str] = (), stack_pages: bool = False) -> Grid:
    """Read an image's grid, that of its first channel; only headers are read.

    Args:
        source: file, folder or list, as for :func:`read_scan`.
        channels: as for :func:`read_scan`.
        stack_pages: as for :func:`read_scan`.

    Raises:
        InputError: If the headers show that the image cannot be read.
    """
    parts = parts_of(source, pixels=False)
    first = parts[0]
    if isinstance(first, DicomPart):
        return first.grid()
    return first.grid(channels if len(parts) == 1 else (), stack_pages)


def _read(
    part: FilePart | DicomPart, channels: Sequence[str], stack_pages: bool, frame: int | None
) -> Volume:
    if isinstance(part, DicomPart):
        return part.read(frame)
    if frame is not None:
        raise UnsupportedError(
            f"frame {frame} of a file without frames", expected="a DICOM cine", path=part.path
        )
    return part.read(channels, stack_pages)


def _named(volume: Volume, channels: Sequence[str], path: Path) -> Volume:
    """Give a volume the declared names of its channels.

    Raises:
        ChannelError: If it has another number of channels.
    """
    count = len(volume.channels) or 1
    if not channels or (count == len(channels) and not volume.channels):
        return volume
    if count == len(channels):
        return replace(volume, channels=tuple(channels))
    raise ChannelError(
        f"{count} channels ({', '.join(volume.channels)})" if volume.channels else "1 channel",
        expected=f"{len(channels)}, as declared for data set and network: {', '.join(channels)}",
        remedy="use weights for such images, "
        + ("convert the image to RGB" if set(channels) == set(RGB) else "add these channels")
        + ", or leave it out",
        path=path,
    )
