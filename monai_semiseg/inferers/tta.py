"""Mirrored inference: the mean over flipped copies of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from monai.inferers import Inferer


class TTAInferer(Inferer):
    """Average a network's output over all flips along some axes.

    For F = the set of flips over every subset of ``axes``: output = 1/|F| sum_f
    f^-1(network(f(input))). Worth its 2^n passes for networks that were trained with the same
    flips.

    Args:
        inferer: what runs each pass, for example a ``SlidingWindowInferer``.
        axes: spatial axes to flip, 0 to 2; none gives the plain inferer.
    """

    def __init__(self, inferer: Inferer, axes: Sequence[int] = ()) -> None:
        super().__init__()
        self.inferer = inferer
        subsets = (subset for n in range(len(axes) + 1) for subset in combinations(sorted(axes), n))
        self.flips = [
            [axis + 2 for axis in subset] for subset in subsets
        ]  # after batch and channel

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Run the network on ``inputs`` of shape ``(B, C, i, j, k)``; the output has the network's channels."""
        total: torch.Tensor | None = None
        for dims in self.flips:
            output = torch.flip(
                self.inferer(torch.flip(inputs, dims), network, *args, **kwargs), dims
            )
            total = output if total is None else total + output
        if total is None:
            raise ValueError("no flip to average over")
        return total / len(self.flips)
