"""Test-time augmentation: the mean over flipped copies of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from monai.inferers import Inferer


class TTAInferer(Inferer):
    """Average a network's output over all flips along some axes.

    For F = the set of flips over every subset of ``axes``: output = 1/|F| sum_f
    f^-1(network(f(input))). It takes 2^n passes for n axes, and helps networks that were trained
    with the same flips.

    Args:
        inferer: the inferer of each pass, for example a ``SlidingWindowInferer``.
        axes: spatial axes to flip, 0 to 2; none gives the plain inferer.
    """

    def __init__(self, inferer: Inferer, axes: Sequence[int] = ()) -> None:
        super().__init__()
        self.inferer = inferer
        dims = [axis + 2 for axis in sorted(axes)]  # after batch and channel
        self.flips: list[tuple[int, ...]] = []
        for count in range(len(dims) + 1):
            self.flips += combinations(dims, count)

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Run the network on ``inputs`` ``(B, C, i, j, k)``; return the mean of its outputs."""
        total: torch.Tensor | None = None
        for dims in self.flips:
            output = torch.flip(
                self.inferer(torch.flip(inputs, dims), network, *args, **kwargs), dims
            )
            total = output if total is None else total + output
        if total is None:
            raise ValueError("no flip to average over")
        return total / len(self.flips)
