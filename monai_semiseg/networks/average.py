"""Exponential moving average of a network's weights (EMA teacher)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_semiseg.networks.weights import unwrapped


class MovingAverage:
    """Moving average of a network: ``t <- a t + (1 - a) s`` with ``a = min(1 - 1/(n+1), m)``.

    ``n`` is the iteration, so that the average starts as a plain mean and forgets its random
    beginning. Running statistics of normalisation layers are averaged as the weights are; counters
    are copied. All tensors move in one fused call. Tarvainen and Valpola, Mean teachers are better
    role models (NeurIPS 2017).

    Args:
        average: the teacher; its gradients are switched off, and it is put into evaluation mode.
        source: the student; a DDP wrapper is looked through.
        momentum: m above, 0 to below 1.
    """

    def __init__(self, average: nn.Module, source: nn.Module, momentum: float = 0.99) -> None:
        self.average = average.eval().requires_grad_(False)
        self.source = unwrapped(source)
        self.momentum = momentum

    @torch.no_grad()
    def reset(self) -> None:
        """Make the average equal to its source."""
        self.average.load_state_dict(self.source.state_dict())

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Update the average after optimiser step ``iteration``, counted from 1."""
        keep = min(1 - 1 / (iteration + 1), self.momentum)
        pairs = self._pairs()
        moving = [(mean, new) for mean, new in pairs if mean.is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in moving], [new for _, new in moving], 1 - keep)
        for mean, new in pairs:
            if not mean.is_floating_point():
                mean.copy_(new)

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Return the tensors of both networks, each once.

        Some networks have one tensor under several names (DynUNet, nnU-Net's): it may move once
        only.
        """
        means, news = (
            network.state_dict(keep_vars=True).values() for network in (self.average, self.source)
        )
        pairs = {id(mean): (mean, new) for mean, new in zip(means, news, strict=True)}
        return list(pairs.values())
