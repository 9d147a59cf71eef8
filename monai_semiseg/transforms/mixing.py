"""CutMix: boxes from one scan pasted into another, on the device and with torch's generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def random_box(shape: Sequence[int], low: float, high: float) -> tuple[slice, ...]:
    """Draw a random box inside an array.

    Args:
        shape: spatial size.
        low: smallest side of the box, as a fraction of the array; sides are drawn independently.
        high: largest side of the box.
    """
    shares = torch.empty(len(shape)).uniform_(low, high).tolist()
    offsets = torch.rand(len(shape)).tolist()
    box = []
    for size, share, offset in zip(shape, shares, offsets, strict=True):
        side = min(size, max(1, round(size * share)))
        start = round((size - side) * offset)
        box.append(slice(start, start + side))
    return tuple(box)


def box_masks(batch: Tensor, low: float, high: float, probability: float = 1.0) -> Tensor:
    """Draw one box per sample.

    Args:
        batch: ``(B, C, spatial...)``; only its shape and device are used.
        low: see :func:`random_box`.
        high: see :func:`random_box`.
        probability: probability that a sample has a box.

    Returns:
        bool, ``(B, 1, spatial...)``: True inside the box.
    """
    mask = torch.zeros((len(batch), 1, *batch.shape[2:]), dtype=torch.bool)
    for sample in mask:
        if torch.rand(()).item() < probability:  # on the CPU, without waiting for the device
            sample[(0, *random_box(batch.shape[2:], low, high))] = True
    return mask.to(batch.device, non_blocking=True)


def paste_from_next(batch: Tensor, mask: Tensor) -> Tensor:
    """Replace each sample inside its mask by the next one of the batch (the last by the first).

    Yun et al., CutMix (ICCV 2019); French et al., Semi-supervised semantic segmentation needs
    strong, varied perturbations (BMVC 2020).

    Args:
        batch: images, labels or weights, ``(B, C, spatial...)``.
        mask: ``(B, 1, spatial...)`` from :func:`box_masks`.
    """
    return torch.where(mask, batch.roll(-1, 0), batch)


def paste_from_donors(batch: Tensor, donors: Tensor, mask: Tensor, given: Tensor) -> Tensor:
    """Paste from donors into the given samples, and from the next sample into the others.

    Args:
        batch: images, targets or weights, ``(B, C, spatial...)``.
        donors: the same of other scans, ``(N, C, spatial...)``; the donor of sample i is number i
            modulo N.
        mask: ``(B, 1, spatial...)`` from :func:`box_masks`.
        given: bool, ``(B,)``: True for samples whose box comes from their donor.
    """
    offered = donors[torch.arange(len(batch), device=donors.device) % len(donors)].to(batch.dtype)
    return torch.where(
        mask & given.reshape(-1, *[1] * (mask.ndim - 1)), offered, paste_from_next(batch, mask)
    )
