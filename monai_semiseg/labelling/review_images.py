"""Slices of an image and its mask, as the page of a review takes them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_rules import LabelRule
from monai_semiseg.datasets.label_values import background_of, compact_mask, foreground_of
from monai_semiseg.export.palette import class_colours
from monai_semiseg.export.preview import centre_of
from monai_semiseg.export.radiological import (
    View,
    caption,
    is_picture,
    nearest_ras,
    plane,
    spacing_of,
    views_of,
)
from monai_semiseg.export.shown_channels import ShownChannels, select_channels, shows_colour
from monai_semiseg.images.grid import onto_grid
from monai_semiseg.images.volume import Volume
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import sha256_of

_LONGEST = 2048  # pixels of a slice on the page; of larger ones, every second or third is sent


def read_mask(path: Path, names: Mapping[int, str], image: Volume) -> NDArray[np.integer[Any]]:
    """Read a mask of a run in the order of its image's voxels, counted from the background.

    Args:
        path: of any kind that a run writes.
        names: label number -> name.
        image: that the mask is of.

    Returns:
        0 is the background, 8 or 16 bits.

    Raises:
        InputError: If it cannot be read, or does not lie on the image's grid.
    """
    numbers = {name: number for number, name in foreground_of(names).items()}
    label = read_label(path, LabelRule(numbers=numbers, stack_pages=image.spatial_dims == 3))
    array = onto_grid(label.array, label.grid, image.grid, path)
    if background := background_of(names):
        array = array.astype(np.int32) - background
    return compact_mask(array, ())


def label_colours(names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return the labels of a run: number as in :func:`read_mask`, name, and colour."""
    labels = foreground_of(names)
    first = background_of(names)
    return [
        {"value": number - first, "name": printable(labels[number]), "colour": list(colour)}
        for number, colour in class_colours(labels).items()
    ]


@dataclass(frozen=True)
class Shown:
    """One way to show an image: a channel in greys, or three channels as colours.

    Attributes:
        name: of the channel; ``colour`` for colours.
        channels: volumes and windows; the volumes have RAS axes.
        least: least value of all of them.
        most: largest value.
    """

    name: str
    channels: ShownChannels
    least: float
    most: float

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Return the type of the numbers that are sent."""
        small = all(volume.dtype == np.uint8 for volume in self.channels.volumes)
        return np.uint8 if small else np.uint16

    @property
    def step(self) -> float:
        """Return the difference of values between two numbers; 1 for whole numbers that fit."""
        if self.dtype is np.uint8:
            return 1.0
        whole = all(volume.dtype.kind in "iu" for volume in self.channels.volumes)
        span = self.most - self.least
        return 1.0 if whole and span <= 65_535 else (span or 1.0) / 65_535

    @property
    def first(self) -> float:
        """Return the value of the number 0."""
        return 0.0 if self.dtype is np.uint8 else self.least

    def numbers(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Return a slice as numbers of 8 or 16 bits: value = first + step * number."""
        if self.dtype is np.uint8:
            return volume
        return np.rint((volume.astype(np.float64) - self.first) / self.step).astype("<u2")

    def description(self) -> dict[str, Any]:
        """Return what the page has to know of it."""
        windows = self.channels.windows
        return {
            "name": printable(self.name),
            "channels": len(windows),
            "low": min(low for low, _ in windows),
            "high": max(high for _, high in windows),
            "first": self.first,
            "step": self.step,
            "bytes": np.dtype(self.dtype).itemsize,
            "least": self.least,
            "most": self.most,
        }


class ReviewImage:
    """An image with its mask, from which slices are cut.

    The voxels stay in the order and type of their file; only slices are turned and converted.

    Args:
        image: the image.
        mask: as :func:`read_mask` gives it.
        mask_sha256: hash of the mask's file.
    """

    def __init__(
        self, image: Volume, mask: NDArray[np.integer[Any]], mask_sha256: str = ""
    ) -> None:
        self.mask_sha256 = mask_sha256
        self.nbytes = image.array.nbytes + mask.nbytes
        (turned,), self.affine = nearest_ras([mask], image.affine)
        if turned is None:
            raise ValueError("a review needs a mask")
        self.mask = turned
        self.views = views_of(self.mask.shape, is_picture(image.meta))
        self.shown = [_shown(image, mask, wanted) for wanted in _ways(image)]

    @classmethod
    def read(
        cls, read_image: Callable[[], Volume], mask: Path, names: Mapping[int, str]
    ) -> ReviewImage:
        """Read an image and its mask.

        Raises:
            InputError: If one of them cannot be read, or they do not lie on one grid.
        """
        image = read_image()
        digest = sha256_of(mask)
        return cls(image, read_mask(mask, names, image), digest)

    def description(self) -> dict[str, Any]:
        """Return what the page has to know before it asks for slices."""
        start = centre_of(self.mask)
        return {
            "shape": list(self.mask.shape),
            "start": [int(at) for at in start],
            "mask_sha256": self.mask_sha256,
            "mask_bytes": self.mask.dtype.itemsize,
            "shown": [shown.description() for shown in self.shown],
            "planes": [self._plane(view, start) for view in self.views],
        }

    def _plane(self, view: View, start: tuple[int, ...]) -> dict[str, Any]:
        every = self._every(view)
        rows, columns = plane(self.mask, view, 0)[::every, ::every].shape
        height, width = spacing_of(view, self.affine)
        return {
            "name": view.name or "Image",
            "axis": view.axis,
            "flipped": view.flipped,
            "every": every,
            "rows": rows,
            "columns": columns,
            "height": height,
            "width": width,
            "letters": [view.left, view.right, view.top, view.bottom],
            "captions": self._captions(view, start) if view.flipped else [],
        }

    def _captions(self, view: View, start: tuple[int, ...]) -> list[str]:
        points = np.tile(np.asarray(start, np.float64), (self.mask.shape[view.axis], 1))
        points[:, view.axis] = np.arange(len(points))
        return [caption(view, point, self.affine) for point in apply_affine(self.affine, points)]

    def _every(self, view: View) -> int:
        """Return 1 if a slice is sent whole, 2 if every second row and column is, and so on."""
        sides = [size for axis, size in enumerate(self.mask.shape) if axis != view.axis]
        return -int(-max(sides) // _LONGEST)

    def slice_bytes(self, plane_number: int, position: int, shown_number: int) -> bytes:
        """Return a slice of the image, channel after channel, and then of the mask.

        Rows from the top, each from the left, in little-endian numbers.

        Raises:
            IndexError: If there is no such slice.
        """
        if min(plane_number, position, shown_number) < 0:
            raise IndexError("numbers of slices begin with 0")
        view = self.views[plane_number]
        shown = self.shown[shown_number]
        every = self._every(view)
        cut = (slice(None, None, every), slice(None, None, every))
        volumes = shown.channels.volumes
        parts = [shown.numbers(plane(volume, view, position)[cut]) for volume in volumes]
        labels = plane(self.mask, view, position)[cut]
        parts.append(labels.astype(labels.dtype.newbyteorder("<"), copy=False))
        return b"".join(part.tobytes() for part in parts)


def _ways(image: Volume) -> list[tuple[str, ...]]:
    """Return the channels of every way to show an image; () shows colours as they are."""
    if not image.channels:
        return [()]
    single = [(name,) for name in image.channels]
    return [(), *single] if shows_colour(image.channels) else [*single]


def _shown(image: Volume, mask: NDArray[Any], wanted: tuple[str, ...]) -> Shown:
    channels = select_channels(image.array, mask, image.channels, wanted)
    name = wanted[0] if wanted else ("colour" if image.channels else "")
    least = min(float(volume.min()) for volume in channels.volumes)
    most = max(float(volume.max()) for volume in channels.volumes)
    turned, _ = nearest_ras(list(channels.volumes), image.affine)
    volumes = tuple(volume for volume in turned if volume is not None)
    return Shown(name, ShownChannels(volumes, channels.windows), least, most)


class ImageCache:
    """Keep the images that were looked at last: as many as fit into some memory, and two at least.

    Args:
        load: reads an image, by the number of its case.
        most_bytes: for the images that are kept.
    """

    def __init__(self, load: Callable[[int], ReviewImage], most_bytes: int = 2**30) -> None:
        self._load = load
        self._most_bytes = most_bytes
        self._images: OrderedDict[int, ReviewImage] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()  # one at a time; slices of the others do not wait

    def get(self, number: int) -> ReviewImage:
        """Return an image, and read it if it is not kept.

        Raises:
            InputError: If it cannot be read.
        """
        image = self._kept(number)
        if image is not None:
            return image
        with self._loading:
            image = self._kept(number)  # another thread may have read it
            if image is None:
                image = self._load(number)
                self._keep(number, image)
        return image

    def forget(self, number: int) -> None:
        """Read an image anew when it is next asked for."""
        with self._lock:
            self._images.pop(number, None)

    def _kept(self, number: int) -> ReviewImage | None:
        with self._lock:
            image = self._images.get(number)
            if image is not None:
                self._images.move_to_end(number)
            return image

    def _keep(self, number: int, image: ReviewImage) -> None:
        with self._lock:
            self._images[number] = image
            while len(self._images) > 2 and self._size() > self._most_bytes:
                self._images.popitem(last=False)

    def _size(self) -> int:
        return sum(image.nbytes for image in self._images.values())
