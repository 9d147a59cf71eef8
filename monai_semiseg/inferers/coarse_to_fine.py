"""Coarse-to-fine inference: a coarse pass finds the box in which the fine pass runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from monai.transforms.utils import generate_spatial_bounding_box
from torch import Tensor
from torch.nn import functional

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.outputs import with_one_output

_CERTAIN = 1e4  # farther apart than any network's logits, and still finite in half precision


class CoarseToFineInferer(Inferer):
    """Find the box that holds all foreground in a coarse pass; run the windows only there.

    Windows lie where they would lie without the box, and those that do not reach it are left out.
    So labels in the box are those of the plain inferer, whatever it mirrors, averages or cuts into
    slices; outside the box all is class 0. What the coarse pass misses by more than the margin is
    lost. The whole image is run if the coarse pass finds nothing, or a box that saves too little.

    Args:
        inferer: the fine pass, for example windows that overlap, of mirrored copies. The network
            gets parts of the image; its result must not depend on their position.
        coarse: the coarse pass, for example windows that do not overlap, not mirrored.
        factor: the image is this many times smaller along every axis in the coarse pass; 1 keeps
            the voxel size that the network was trained on.
        margin: voxels around the foreground that was found, for all axes or one by one.
        most: largest share of the image's voxels in the box, from 0 to 1.

    Raises:
        ConfigError: If the factor is below 1, or ``most`` is no share.
    """

    def __init__(
        self,
        inferer: Inferer,
        coarse: Inferer,
        factor: float = 1.0,
        margin: int | Sequence[int] = 8,
        most: float = 0.5,
    ) -> None:
        super().__init__()
        self.inferer = inferer
        self.coarse = coarse
        self.factor = factor
        self.margin = margin
        self.most = most
        if factor < 1 or not 0 <= most <= 1:
            raise ConfigError(
                f"coarse factor {factor}, box of at most {most} of the image",
                expected="a factor of at least 1, a share from 0 to 1",
            )

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Run the network on ``inputs`` ``(B, C, spatial...)``; a batch has one box."""
        box, classes = self._find_box(inputs, network, *args, **kwargs)
        if box is None:
            return torch.as_tensor(self.inferer(inputs, network, *args, **kwargs))
        # The box is one more channel, so that it is flipped and cut as the image is.
        inside = torch.zeros_like(inputs[:, :1])
        inside[box] = 1
        inside_only = _InsideOnly(with_one_output(network), classes)
        output = self.inferer(torch.cat([inputs, inside], 1), inside_only, *args, **kwargs)
        output = torch.as_tensor(output)
        whole = torch.full_like(output, -_CERTAIN)
        whole[:, 0] = _CERTAIN
        whole[box] = output[box]
        return whole

    def _find_box(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> tuple[tuple[slice, ...] | None, int]:
        """Return the box as an index, None if the whole image is run; and the number of classes."""
        size = tuple(inputs.shape[2:])
        image = torch.as_tensor(inputs)
        if self.factor > 1:
            image = functional.interpolate(
                image, [max(1, math.ceil(n / self.factor)) for n in size], mode="area"
            )
        logits = torch.as_tensor(self.coarse(image, network, *args, **kwargs))
        scale = [n / m for n, m in zip(size, logits.shape[2:], strict=True)]
        first, last = generate_spatial_bounding_box(logits.argmax(1), lambda labels: labels > 0)
        sides = [self.margin] * len(size) if isinstance(self.margin, int) else self.margin
        box = [
            slice(max(0, math.floor(a * s) - side), min(n, math.ceil(b * s) + side))
            for a, b, s, side, n in zip(first, last, scale, sides, size, strict=True)
        ]
        share = math.prod((b.stop - b.start) / n for b, n in zip(box, size, strict=True))
        if not any(last) or share > self.most:
            return None, logits.shape[1]
        return (slice(None), slice(None), *box), logits.shape[1]


class _InsideOnly:
    """Network that is run on the parts of an image whose last channel is not 0 everywhere."""

    def __init__(self, network: Callable[..., Tensor], classes: int) -> None:
        self.network = network
        self.classes = classes

    def __call__(self, parts: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        images = parts[:, :-1]
        wanted = parts[:, -1:].flatten(1).any(1)
        output = images.new_zeros((len(images), self.classes, *images.shape[2:]))
        if wanted.any():
            found = self.network(images[wanted], *args, **kwargs)
            output[wanted] = found.to(output.dtype)
        return output
