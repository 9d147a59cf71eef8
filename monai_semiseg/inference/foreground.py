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

    Foreground are voxels whose first channel lies more than ``level`` of the image's range above its darkest voxel:
    with air that is black, 0.1 keeps the body. A bundle says so by putting this around its inferer; whether labels
    stay the same has to be seen with its weights, since windows lie elsewhere than without it.

    Args:
        inferer: what runs on the box, for example a ``SlidingWindowInferer``.
        level: share of the range, from 0 to below 1.
        margin: voxels kept around the foreground, for all axes or one by one.

    Raises:
        ConfigError: If the level is no share.
    """

    def __init__(self, inferer: Inferer, level: float = 0.1, margin: int | Sequence[int] = 8) -> None:
        super().__init__()
        if not 0 <= level < 1:
            raise ConfigError(f"foreground level {level}", expected="0 to below 1, a share of the image's range")
        self.inferer, self.level, self.margin = inferer, level, margin

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Run the network on ``inputs`` of shape ``(1, C, i, j, k)``; an image without foreground is run whole."""
        darkest, brightest = inputs[:, 0].amin(), inputs[:, 0].amax()
        threshold = darkest + self.level * (brightest - darkest)
        found = generate_spatial_bounding_box(
            inputs[:, 0], lambda image: image > threshold, margin=self.margin, allow_smaller=True
        )
        box = tuple(slice(max(0, int(first)), int(last)) for first, last in zip(*found, strict=True))
        if any(side.stop <= side.start for side in box):
            box = tuple(slice(None) for _ in box)
        output = torch.as_tensor(self.inferer(inputs[(slice(None), slice(None), *box)], network, *args, **kwargs))
        whole = output.new_zeros((*output.shape[:2], *inputs.shape[2:]))
        # Surely background: farther apart than any network's logits, and still finite in half precision.
        whole[:, 0], whole[:, 1:] = 1e4, -1e4
        whole[(slice(None), slice(None), *box)] = output
        return whole
