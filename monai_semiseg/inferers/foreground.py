"""Inference in the bounding box of the scan's foreground, without windows over background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from monai.transforms.utils import generate_spatial_bounding_box
from torch import Tensor

from monai_semiseg.errors import ConfigError


class ForegroundInferer(Inferer):
    """Run an inferer on the bounding box of the foreground; all else is class 0.

    Foreground are voxels whose first channel lies more than ``level`` of the image's range above
    its darkest voxel: with air that is black, 0.1 keeps the body. A bundle puts this around its
    inferer. Windows then lie elsewhere, so labels may change: measure it with the bundle's weights.

    Args:
        inferer: the inferer for the box, for example a ``SlidingWindowInferer``.
        level: share of the range, from 0 to below 1.
        margin: voxels kept around the foreground, for all axes or one by one.

    Raises:
        ConfigError: If the level is no share.
    """

    def __init__(
        self, inferer: Inferer, level: float = 0.1, margin: int | Sequence[int] = 8
    ) -> None:
        super().__init__()
        if not 0 <= level < 1:
            raise ConfigError(
                f"foreground level {level}", expected="0 to below 1, a share of the image's range"
            )
        self.inferer = inferer
        self.level = level
        self.margin = margin

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Run the network on ``inputs`` ``(1, C, i, j, k)``; wholly if there is no foreground."""
        darkest = inputs[:, 0].amin()
        brightest = inputs[:, 0].amax()
        threshold = darkest + self.level * (brightest - darkest)
        first, last = generate_spatial_bounding_box(
            inputs[:, 0], lambda image: image > threshold, margin=self.margin, allow_smaller=True
        )
        if not any(last):
            return torch.as_tensor(self.inferer(inputs, network, *args, **kwargs))
        box = (slice(None), slice(None), *map(slice, first, last))
        output = torch.as_tensor(self.inferer(inputs[box], network, *args, **kwargs))
        # Certain background: farther apart than any network's logits, and still finite in half
        # precision.
        whole = output.new_full((*output.shape[:2], *inputs.shape[2:]), -1e4)
        whole[:, 0] = 1e4
        whole[box] = output
        return whole
