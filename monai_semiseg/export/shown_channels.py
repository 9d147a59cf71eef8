"""Channels of an image that a preview shows: one in greys, or three as red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_semiseg.errors import ConfigError
from monai_semiseg.export.palette import GREYS
from monai_semiseg.export.window import grey_window
from monai_semiseg.images.volume import RGB

_WHITES = (1, 255, 65535)  # of floats, and of 8 and 16 bits
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ShownChannels:
    """One or three volumes, and the values of each that are drawn darkest and brightest.

    Attributes:
        volumes: shape ``(i, j, k)`` each.
        windows: of each volume.
    """

    volumes: tuple[NDArray[Any], ...]
    windows: tuple[tuple[float, float], ...]

    @property
    def in_colour(self) -> bool:
        """Return True for three volumes."""
        return len(self.volumes) == 3

    def draw(self, planes: Sequence[NDArray[Any]], size: tuple[int, int]) -> Pixels:
        """Return a plane of every volume as pixels of a picture of the given width and height.

        Greys are numbers of the palette ``(rows, columns)``; colours are 8 bit ``(rows, columns,
        3)``.
        """
        most = 255 if self.in_colour else GREYS - 1
        parts = [
            scaled(plane, window, most) for plane, window in zip(planes, self.windows, strict=True)
        ]
        pixels = np.stack(parts, -1) if self.in_colour else parts[0]
        return np.asarray(resized(pixels, size))


def scaled(plane: NDArray[Any], window: tuple[float, float], most: int) -> Pixels:
    """Return a plane with the window's values as 0 to ``most``."""
    if plane.dtype == np.uint8 and window == (0, most):
        return np.asarray(plane)
    low, high = window
    share = (plane.astype(np.float32) - low) / max(high - low, 1e-9)
    return np.asarray((np.clip(share, 0, 1) * most).astype(np.uint8))


def resized(plane: Pixels, size: tuple[int, int]) -> Image.Image:
    """Return a plane as a picture of the given width and height."""
    picture = Image.fromarray(np.ascontiguousarray(plane))
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.BILINEAR)


def shows_colour(names: Sequence[str], wanted: Sequence[str] = ()) -> bool:
    """Return True if :func:`select_channels` gives three channels for these names."""
    return len(wanted) == 3 if wanted else tuple(names) == RGB


def select_channels(
    image: NDArray[Any], mask: NDArray[Any], names: Sequence[str], wanted: Sequence[str] = ()
) -> ShownChannels:
    """Choose the channels that a preview shows.

    By default a colour image is shown as it looks, and of other images the first channel.

    Args:
        image: voxels ``(i, j, k)``, or ``(i, j, k, channels)``.
        mask: label map ``(i, j, k)``; it decides between CT's windows.
        names: of the channels.
        wanted: names of one channel, or of three for red, green and blue.

    Raises:
        ConfigError: If a wanted channel is absent, or their number is another.
    """
    if image.ndim == 3:
        return ShownChannels((image,), (grey_window(image, mask),))
    if not wanted and shows_colour(names):
        volumes = tuple(image[..., at] for at in range(3))
        return ShownChannels(volumes, ((0, _white(image)),) * 3)
    chosen = list(wanted) or list(names[:1])
    require_channels(chosen, names)
    places = [list(names).index(name) for name in chosen] or [0]
    volumes = tuple(image[..., at] for at in places)
    return ShownChannels(volumes, tuple(grey_window(volume, mask) for volume in volumes))


def require_channels(wanted: Sequence[str], names: Sequence[str]) -> None:
    """Require that wanted channels are one or three of those that the images have.

    Raises:
        ConfigError: If they are not.
    """
    if len(wanted) not in (0, 1, 3) or set(wanted) - set(names):
        raise ConfigError(
            f"preview_channels {list(wanted)}",
            expected=f"one or three of the channels {', '.join(names)}",
        )


def _white(image: NDArray[Any]) -> float:
    """Return the value of white: that of its type, or of the range that all values are in."""
    if image.dtype == np.uint8:
        return 255
    brightest = float(image.max(initial=0))
    return float(next((white for white in _WHITES if brightest <= white), brightest))
