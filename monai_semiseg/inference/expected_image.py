"""Channels that the weights expect of an image; images with others are refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_semiseg.errors import ChannelError


@dataclass(frozen=True)
class ExpectedImage:
    """Channels of the images that the network takes; None is not compared.

    Attributes:
        in_channels: number of channels.
        channel_names: their names, in the order that the network takes them.
    """

    in_channels: int | None = None
    channel_names: Sequence[str] = ()

    def check(self, shape: Sequence[int], channels: Sequence[str], path: str | Path) -> None:
        """Refuse another image.

        Args:
            shape: ``(i, j, k)``, or ``(i, j, k, channels)``.
            channels: names of the image's channels, where its reader knows them.
            path: of the image, for the error.

        Raises:
            ChannelError: If it has other channels, or the same ones in another order.
        """
        count = shape[3] if len(shape) == 4 else 1
        wanted = self.in_channels or len(self.channel_names) or count
        is_reordered = list(channels) != list(self.channel_names) and (
            sorted(channels) == sorted(self.channel_names)
        )
        if count != wanted or (channels and is_reordered):
            raise ChannelError(
                _listed(count, channels),
                expected=f"{_listed(wanted, self.channel_names)}, as in the network's training",
                remedy="give every image these channels in this order, or use other weights",
                path=path,
            )


def _listed(count: int, names: Sequence[str]) -> str:
    """Return the number of channels, and their names if these are known."""
    words = "1 channel" if count == 1 else f"{count} channels"
    return f"{words} ({', '.join(names)})" if len(names) == count and any(names) else words
