"""What the weights expect of an image: channels and axes; other images are refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.inferers import Inferer, SliceInferer

from monai_semiseg.errors import ChannelError, DimensionError
from monai_semiseg.images.volume import spatial_dims_of


@dataclass(frozen=True)
class ExpectedImage:
    """Channels and axes of the images that the network takes; None is not compared.

    Attributes:
        in_channels: number of channels.
        channel_names: their names, in the order that the network takes them.
        spatial_dims: 2 or 3.
    """

    in_channels: int | None = None
    channel_names: Sequence[str] = ()
    spatial_dims: int | None = None

    def check(self, shape: Sequence[int], channels: Sequence[str], path: str | Path) -> None:
        """Refuse another image.

        Args:
            shape: ``(i, j, k)``, or ``(i, j, k, channels)``.
            channels: names of the image's channels, where its reader knows them.
            path: of the image, for the error.

        Raises:
            ChannelError: If it has other channels, or the same ones in another order.
            DimensionError: If it is 2-D and the network 3-D, or the other way round.
        """
        dims = spatial_dims_of(shape[:3])
        if self.spatial_dims not in (None, dims):
            raise DimensionError(
                f"a {dims}-D image, {'x'.join(map(str, shape[:3]))}",
                expected=f"{self.spatial_dims}-D images, as those that the network was trained on",
                remedy=f"use weights that were trained on {dims}-D images",
                path=path,
            )
        count = shape[3] if len(shape) == 4 else 1
        wanted = self.in_channels or len(self.channel_names) or count
        is_reordered = list(channels) != list(self.channel_names) and (
            sorted(channels) == sorted(self.channel_names)
        )
        if count != wanted or (channels and is_reordered):
            raise ChannelError(
                _listed(count, channels),
                expected=f"{_listed(wanted, self.channel_names)}, as the network was trained on",
                remedy="give every image these channels in this order, or use other weights",
                path=path,
            )


def goes_over_slices(inferer: Inferer | Any) -> bool:
    """Return True if an inferer, or one that it wraps, gives a 2-D network the slices of a scan."""
    while inferer is not None:
        if isinstance(inferer, SliceInferer):
            return True
        inferer = getattr(inferer, "inferer", None)
    return False


def _listed(count: int, names: Sequence[str]) -> str:
    """Return the number of channels, and their names if these are known."""
    words = "1 channel" if count == 1 else f"{count} channels"
    return f"{words} ({', '.join(names)})" if len(names) == count and any(names) else words
