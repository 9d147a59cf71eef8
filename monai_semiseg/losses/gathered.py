"""Gathering of rows from all processes, with gradients back to each process."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """Return the number of processes; 1 without torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum over all processes, without a gradient."""
    if process_count() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def mean_over_processes(total: Tensor, count: Tensor) -> Tensor:
    """Average over the anchors of all processes, times their number (DDP averages gradients)."""
    return total * process_count() / count.clamp_min(1)


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """Gather the rows ``(N_r, ...)`` of all processes; N_r may differ.

    The second result is the index at which this process's rows begin.
    """
    if process_count() == 1:
        return rows, 0
    sizes = torch.zeros(process_count(), dtype=torch.long, device=rows.device)
    sizes[dist.get_rank()] = len(rows)
    dist.all_reduce(sizes)
    counts = [int(size) for size in sizes]
    if not rows.is_floating_point():
        return _gather(rows, counts), sum(counts[: dist.get_rank()])
    gathered: Tensor = _Gather.apply(rows, counts)  # type: ignore[no-untyped-call]
    return gathered, sum(counts[: dist.get_rank()])


class _Gather(torch.autograd.Function):
    """Gather whose gradient of a row is the sum over all processes."""

    @staticmethod
    def forward(context: Any, rows: Tensor, counts: list[int]) -> Tensor:
        context.counts = counts
        return _gather(rows, counts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        first = sum(context.counts[: dist.get_rank()])
        return gradient[first : first + context.counts[dist.get_rank()]], None


def _gather(rows: Tensor, counts: list[int]) -> Tensor:
    """Gather rows padded to the longest process's: collectives need equal sizes."""
    longest = max(counts)
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
