"""Sliding windows over images and scans, for networks of as many dimensions or of one less."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from monai.inferers import SliceInferer, SlidingWindowInferer
from torch import Tensor

from monai_semiseg.networks.outputs import with_one_output


class WindowInferer(SliceInferer):
    """Run a network over windows; a 2-D network runs over the slices of 3-D scans.

    It is MONAI's ``SlidingWindowInferer``, and its ``SliceInferer`` if an image has one axis more
    than the windows. So one config serves 2-D images, 3-D scans, and 3-D scans with 2-D networks.
    Of a network that returns several maps, the finest is taken.

    Args:
        *args: as for ``SlidingWindowInferer``; ``roi_size`` has the network's dimensions.
        slice_axis: axis of the slices among the three of a scan: 0, 1 or 2.
        **kwargs: as for ``SlidingWindowInferer``.
    """

    def __init__(self, *args: Any, slice_axis: int = 2, **kwargs: Any) -> None:
        super().__init__(slice_axis, *args, **kwargs)

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Run the network on ``inputs`` ``(B, C, spatial...)``."""
        network = with_one_output(network)
        sizes = self.roi_size
        if isinstance(sizes, int) or inputs.ndim - 2 == len(sizes):
            return SlidingWindowInferer.__call__(self, inputs, network, *args, **kwargs)
        slices = copy(self)  # MONAI's call sets roi_size to that of a slab
        slices.roi_weight_map = None  # of two axes
        return SliceInferer.__call__(slices, torch.as_tensor(inputs), network, *args, **kwargs)
