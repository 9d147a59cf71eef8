"""No windows over background: the network sees the box that holds the scan's foreground."""

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
    its darkest voxel: with air that is black, 0.1 keeps the body. A bundle says so by putting this
    around its inferer; whether labels stay the same has to be seen with its weights, since windows
    lie elsewhere than without it.

    Args:
        inferer: what runs on the box, for example a ``SlidingWindowInferer``.
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
        self.inferer, self.level, self.margin = inferer, level, margin

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Run the network on ``inputs`` of shape ``(1, C, i, j, k)``; an image without foreground is run whole."""
        darkest, brightest = inputs[:, 0].amin(), inputs[:, 0].amax()
        threshold = darkest + self.level * (brightest - darkest)
        first, last = generate_spatial_bounding_box(
            inputs[:, 0], lambda image: image > threshold, margin=self.margin, allow_smaller=True
        )
        if not any(last):
            return torch.as_tensor(self.inferer(inputs, network, *args, **kwargs))
        box = (slice(None), slice(None), *map(slice, first, last))
        output = torch.as_tensor(self.inferer(inputs[box], network, *args, **kwargs))
        # Surely background: farther apart than any network's logits, and still finite in half
        # precision.
        whole = output.new_full((*output.shape[:2], *inputs.shape[2:]), -1e4)
        whole[:, 0] = 1e4
        whole[box] = output
        return whole
