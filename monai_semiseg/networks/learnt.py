"""Which weights of a network a training has changed, and which stayed at their start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from monai_semiseg.networks.weights import unwrapped


@dataclass(frozen=True)
class Learnt:
    """Numbers of weights that changed and that stayed, by tensor.

    Attributes:
        changed: name of a tensor -> its number of weights.
        stayed: likewise, of those that are equal to their start.
    """

    changed: Mapping[str, int]
    stayed: Mapping[str, int]

    @property
    def share(self) -> float:
        """Return the share of all weights that are in tensors that changed, 0 to 1."""
        return sum(self.changed.values()) / self.total if self.total else 0.0

    @property
    def total(self) -> int:
        """Return the number of all weights."""
        return sum(self.changed.values()) + sum(self.stayed.values())

    def __str__(self) -> str:
        count = len(self.changed) + len(self.stayed)
        text = f"{percent(self.share)} of the weights were learnt ({len(self.changed)} of {count} "
        text += "tensors)"
        if not self.stayed:
            return text
        parts = _by_part(self.stayed)
        words = [f"{name} ({percent(number / self.total)})" for name, number in parts[:5]]
        more = [f"{len(parts) - 5} more"] if len(parts) > 5 else []
        return f"{text}; at their start: {', '.join(words + more)}"


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all weights on the CPU; running statistics and counters are no weights."""
    named = unwrapped(network).named_parameters()
    return {name: value.detach().to("cpu", copy=True) for name, value in named}


def learnt_since(start: Mapping[str, Tensor], network: nn.Module) -> Learnt:
    """Compare a network's weights with those of :func:`snapshot`."""
    changed: dict[str, int] = {}
    stayed: dict[str, int] = {}
    for name, value in unwrapped(network).named_parameters():
        same = torch.equal(value.detach().cpu(), start[name])
        (stayed if same else changed)[name] = value.numel()
    return Learnt(changed, stayed)


def _by_part(stayed: Mapping[str, int]) -> list[tuple[str, int]]:
    """Add up weights by the first two parts of their names, the largest first."""
    sums: Counter[str] = Counter()
    for name, number in stayed.items():
        owner = name.split(".")[:-1] or [name]
        sums[".".join(owner[:2])] += number
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))


def percent(share: float) -> str:
    """Return a share of 0 to 1 in percent; only nothing is shown as 0, only all as 100."""
    rounded = min(max(share * 100, 0.1), 99.9) if 0 < share < 1 else share * 100
    return f"{rounded:.1f} %"
