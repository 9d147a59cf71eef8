"""Tiled log-sum-exp over all pairs of two sets of embeddings: memory O(N), not O(N x N)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def pair_logsumexp(
    anchors: Tensor,
    contrast: Tensor,
    temperature: float,
    *,
    own: Tensor,
    same: tuple[Tensor, Tensor] | None = None,
    other: tuple[Tensor, Tensor] | None = None,
    tile: int = 2048,
) -> Tensor:
    """Compute ``out_i = log sum_k exp(a_i . b_k / t)`` over the pairs that count.

    Gradients flow to both sides.

    The forward pass keeps a running log-sum-exp per anchor, stable at any temperature; the backward
    pass recomputes every tile instead of storing it. Sums are in float32 under autocast, and in
    float64 for float64 embeddings.

    Args:
        anchors: ``(M, D)``.
        contrast: ``(N, D)``.
        temperature: t above.
        own: ``(M,)``, the index in ``contrast`` of the anchor itself, which does not count; -1 if
            absent.
        same: classes of anchors and contrast, ``(M,)`` and ``(N,)``: only pairs of one class count.
        other: likewise: only pairs of different classes count.
        tile: number of anchors, and of contrast, in one tile.

    Returns:
        ``(M,)``; minus infinity for an anchor without pairs.
    """
    kind = torch.float64 if anchors.dtype == torch.float64 else torch.float32
    result: Tensor = _PairLogSumExp.apply(  # type: ignore[no-untyped-call]
        anchors.to(kind), contrast.to(kind), own, same, other, float(temperature), tile
    )
    return result


class _PairLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        anchors: Tensor,
        contrast: Tensor,
        own: Tensor,
        same: Any,
        other: Any,
        temperature: float,
        tile: int,
    ) -> Tensor:
        result = anchors.new_full((len(anchors),), -torch.inf)
        context.pairs = _Pairs(own, same, other, temperature, tile)
        with torch.autocast(anchors.device.type, enabled=False):
            for rows, _, logits in context.pairs.tiles(anchors, contrast):
                result[rows] = torch.logaddexp(result[rows], _logsumexp(logits))
        context.save_for_backward(anchors, contrast, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        anchors, contrast, result = context.saved_tensors
        to_anchors, to_contrast = torch.zeros_like(anchors), torch.zeros_like(contrast)
        share = gradient / context.pairs.temperature
        level = torch.where(result.isfinite(), result, 0.0)
        with torch.autocast(anchors.device.type, enabled=False):
            for rows, columns, logits in context.pairs.tiles(anchors, contrast):
                weights = logits.sub_(level[rows, None]).exp_().mul_(share[rows, None])
                to_anchors[rows].addmm_(weights, contrast[columns])
                to_contrast[columns].addmm_(weights.T, anchors[rows])
        return to_anchors, to_contrast, None, None, None, None, None


class _Pairs:
    """Selection of pairs, and their logits tile by tile."""

    def __init__(self, own: Tensor, same: Any, other: Any, temperature: float, tile: int) -> None:
        self.own = own
        self.same = same
        self.other = other
        self.temperature = temperature
        self.tile = tile

    def tiles(self, anchors: Tensor, contrast: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield rows, columns, and ``a b^T / t``, minus infinity where a pair does not count."""
        scaled = anchors / self.temperature
        for rows in _slices(len(anchors), self.tile):
            for columns in _slices(len(contrast), self.tile):
                logits = scaled[rows] @ contrast[columns].T
                if self.same is not None:
                    differ = self.same[0][rows, None] != self.same[1][columns]
                    logits.masked_fill_(differ, -torch.inf)
                if self.other is not None:
                    equal = self.other[0][rows, None] == self.other[1][columns]
                    logits.masked_fill_(equal, -torch.inf)
                self._leave_out_own(logits, rows, columns)
                yield rows, columns, logits

    def _leave_out_own(self, logits: Tensor, rows: slice, columns: slice) -> None:
        column = self.own[rows] - columns.start
        inside = (column >= 0) & (column < logits.shape[1])
        # No count is read from the device: rows without an own column write back a value unchanged.
        index = torch.where(inside, column, 0)[:, None]
        kept = torch.where(inside[:, None], -torch.inf, logits.gather(1, index))
        logits.scatter_(1, index, kept)


def _logsumexp(logits: Tensor) -> Tensor:
    """Reduce in place, to save one array of the tile's size."""
    level = logits.amax(1)
    level = torch.where(level.isfinite(), level, 0.0)
    return logits.sub_(level[:, None]).exp_().sum(1).log_().add_(level)


def _slices(size: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]
