"""One MONAI reader for every format, which returns a checked volume or raises a typed error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys

from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import Volume

_FRAME = re.compile(r"(?P<file>.+)::frame=(?P<frame>\d+)")
_kept: ContextVar[list[np.ndarray[Any, Any]] | None] = ContextVar("kept", default=None)


@contextmanager
def collect_voxels() -> Iterator[list[np.ndarray[Any, Any]]]:
    """Collect copies of the voxels of all scans that :class:`ScanReader` reads in this thread.

    A caller that needs them beside the network's input does not have to read the scan twice.
    """
    voxels: list[np.ndarray[Any, Any]] = []
    token = _kept.set(voxels)
    try:
        yield voxels
    finally:
        _kept.reset(token)


def frame_name(file: str | Path, frame: int) -> str:
    """Return the name by which :class:`ScanReader` reads one frame of a DICOM cine, from 0."""
    return f"{file}::frame={frame}"


class ScanReader(ImageReader):
    """Reader of every format for ``LoadImaged``, see :func:`read_scan`.

    One frame of a DICOM cine is named as :func:`frame_name` says.

    In a config: ``{"_target_": "LoadImaged", "keys": "image", "reader":
    "monai_semiseg.images.reader.ScanReader"}``. The item may be a file, a folder with one DICOM
    series, the list of a series' files, or the list of the files of several channels.

    ``read`` only keeps the path, and ``get_data`` reads the file. ``LoadImage`` catches every error
    of ``read`` and falls back to readers that accept damaged files, so ``get_data`` has to raise
    errors.

    Args:
        nonfinite: value that replaces NaN and Inf voxels; by default they are refused.
        channels: names of the channels that the data set declares; they also say that a fourth
            axis of a file holds channels, and an image with another number of them is refused.
        stack_pages: whether the pages of a TIFF are the slices of a 3-D scan.
    """

    def __init__(
        self,
        nonfinite: float | None = None,
        channels: Sequence[str] | None = None,
        stack_pages: bool = False,
    ) -> None:
        super().__init__()
        self.nonfinite = nonfinite
        self.channels = tuple(channels or ())
        self.stack_pages = stack_pages

    def verify_suffix(self, filename: Sequence[str] | str) -> bool:
        """Return True for every name: the content decides about the format."""
        return True

    def read(self, data: Sequence[str] | str, **_: Any) -> list[Path]:
        """Keep the path of the file or folder, or the list of files."""
        names = [data] if isinstance(data, str | Path) else data
        return [Path(name) for name in names]

    def get_data(self, img: list[Path]) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        """Read the volume.

        Returns:
            Voxels of shape ``(i, j, k)`` or ``(i, j, k, channels)``, and metadata with the RAS
            ``affine`` in mm, or in pixels if ``unit`` is ``px``; and the ``channels``.

        Raises:
            InputError: If the scan cannot be read correctly.
        """
        volume = self.read_volume(img)
        if (kept := _kept.get()) is not None:
            kept.append(volume.array.copy())  # a transform may work in place
        meta = {
            **volume.meta,
            str(MetaKeys.AFFINE): volume.affine,
            str(MetaKeys.ORIGINAL_AFFINE): volume.affine.copy(),
            str(MetaKeys.SPACE): SpaceKeys.RAS,
            str(MetaKeys.SPATIAL_SHAPE): np.asarray(volume.shape),
            str(MetaKeys.ORIGINAL_CHANNEL_DIM): -1 if volume.channels else float("nan"),
            "unit": volume.unit,
            "channels": list(volume.channels),
        }
        return volume.array, meta

    def read_volume(self, paths: list[Path]) -> Volume:
        """Read the volume from a file or folder, or from several files."""
        frame = None
        if len(paths) == 1 and (one := _FRAME.fullmatch(str(paths[0]))):
            paths = [Path(one["file"])]
            frame = int(one["frame"])
        return read_scan(
            paths,
            nonfinite=self.nonfinite,
            channels=self.channels,
            stack_pages=self.stack_pages,
            frame=frame,
        )
