"""Intensity transforms that MONAI lacks: one for each channel, and changes of colour."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type
from torch import Tensor


class EachChanneld(MapTransform):
    """Apply another dictionary transform to every channel, as CT beside PET needs.

    Args:
        keys: images ``(channels, spatial...)``.
        transforms: one for each channel; each works on the same keys.
        allow_missing_keys: skip absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        transforms: Sequence[Callable[[dict[Hashable, Any]], Mapping[Hashable, Any]]],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transforms = list(transforms)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with images whose channels were transformed one by one."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[key]
            channels = [
                transform({key: image[n : n + 1]})[key]
                for n, transform in enumerate(self.transforms)
            ]
            item[key] = convert_to_dst_type(torch.cat(channels), image, dtype=channels[0].dtype)[0]
        return item


class RandColourJitterd(RandomizableTransform, MapTransform):
    """Turn the hue and scale the saturation of colour images, as stains and cameras do.

    A colour is a grey part along (1, 1, 1) and a rest. The rest is turned about that axis by an
    angle and multiplied by a factor; the grey part stays. This holds after a normalisation with one
    mean and one standard deviation for all three channels.

    Args:
        keys: images ``(3, spatial...)``.
        prob: probability of a change.
        hue: largest angle, radians.
        saturation: largest relative change of the saturation.
        allow_missing_keys: skip absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        hue: float = 0.15,
        saturation: float = 0.3,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.hue = hue
        self.saturation = saturation

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with the same change of all its images."""
        item = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return item
        angle = float(self.R.uniform(-self.hue, self.hue))
        factor = 1 + float(self.R.uniform(-self.saturation, self.saturation))
        matrix = colour_matrix(angle, factor)
        for key in self.key_iterator(item):
            image = torch.as_tensor(item[key])
            changed = torch.einsum("ij,j...->i...", matrix.to(image), image)
            item[key] = convert_to_dst_type(changed, item[key])[0]
        return item


def colour_matrix(angle: float, factor: float) -> Tensor:
    """Return the matrix that turns colours about grey by an angle and scales their saturation.

    ``M = G + factor * (cos(angle) * (I - G) + sin(angle) * K)`` with ``G`` the projection onto
    (1, 1, 1) and ``K`` the cross product with that axis (Rodrigues' formula).

    Args:
        angle: radians.
        factor: of the saturation.

    Returns:
        Shape ``(3, 3)``, float64.
    """
    grey = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / math.sqrt(3)
    rest = torch.eye(3, dtype=torch.float64) - grey
    return grey + factor * (math.cos(angle) * rest + math.sin(angle) * cross)
