"""A 2-D network on the slices of 3-D patches, so that data, losses and trainers stay as they are."""

from __future__ import annotations

from typing import Any

from monai.inferers import Inferer
from torch import Tensor, nn


class SliceBatchInferer(Inferer):
    """Run a 2-D network on every slice along the last axis, as a batch.

    ``(B, C, i, j, k)`` becomes ``(B k, C, i, j)``; what the network gives for every place goes back to
    ``(B, C', i, j, k)``, what it gives for every slice stays ``(B k, C')``.
    """

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Run the network."""
        batch, channels, *plane, slices = inputs.shape
        flat = inputs.movedim(-1, 1).reshape(batch * slices, channels, *plane)
        output: Tensor = network(flat, *args, **kwargs)
        if output.ndim == 2:
            return output
        return output.reshape(batch, slices, *output.shape[1:]).movedim(1, -1)
