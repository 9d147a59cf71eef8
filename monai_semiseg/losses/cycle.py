"""Regularisation of unsupervised masks: discrete decisions, and no class left out."""

from __future__ import annotations

import torch
from monai.networks.utils import one_hot
from torch import Tensor
from torch.nn import functional


def discretised(probabilities: Tensor) -> Tensor:
    """Return one-hot decisions with the gradient of the probabilities (straight-through).

    The probabilities of a soft mask can encode the image; decisions cannot. Bengio et al.,
    Estimating or propagating gradients through stochastic neurons (2013).

    Args:
        probabilities: ``(B, classes, spatial...)``.
    """
    decisions: Tensor = one_hot(
        probabilities.argmax(1, keepdim=True), probabilities.shape[1], probabilities.dtype
    )
    return decisions + probabilities - probabilities.detach()


def coarsened(masks: Tensor, factor: int) -> Tensor:
    """Average over cubes of ``factor`` voxels and resize to full size: a resolution bottleneck."""
    if factor == 1:
        return masks
    pool = functional.avg_pool3d if masks.ndim == 5 else functional.avg_pool2d
    mode = "trilinear" if masks.ndim == 5 else "bilinear"
    small = pool(masks, factor, ceil_mode=True, count_include_pad=False)
    return functional.interpolate(small, masks.shape[2:], mode=mode, align_corners=False)


def class_shares(probabilities: Tensor) -> Tensor:
    """Compute the mean probability of every class over the batch, ``(classes,)``."""
    return probabilities.mean([0, *range(2, probabilities.ndim)])


def missing_share(probabilities: Tensor, least: float) -> Tensor:
    """Compute ``sum_c max(0, 1 - share_c / least)``.

    It is 0 where every class has its share of the voxels, and at most ``classes``.
    """
    return torch.relu(1 - class_shares(probabilities) / least).sum()
