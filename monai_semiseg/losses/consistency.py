"""Losses that need no label: agreement of two predictions, and certainty of one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TINY = 1e-6  # keeps the logarithm of a probability of 0 finite, as in the papers' code


def probability_mse(probability: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Compute the mean squared difference of two class distributions.

    ``sum_p w_p |p_p - q_p|^2 / (C sum_p w_p)``.

    Tarvainen and Valpola, Mean teachers are better role models (NeurIPS 2017); weighted as in Yu et
    al., Uncertainty-aware self-ensembling (MICCAI 2019). Where all weights are 0 the loss is 0.

    Args:
        probability: ``(B, C, spatial...)``, gradients flow here.
        target: of the same shape; taken as a constant.
        weight: ``(B, 1, spatial...)``; None counts every voxel alike.
    """
    square = (probability - target.detach()) ** 2
    if weight is None:
        return square.mean()
    return (weight * square).sum() / (probability.shape[1] * weight.sum()).clamp_min(_TINY)


def entropy(probability: Tensor) -> Tensor:
    """Compute the entropy of each voxel's class distribution, in nats.

    ``-sum_c p_c ln(p_c + 1e-6)``.

    Args:
        probability: ``(B, C, spatial...)``.

    Returns:
        ``(B, 1, spatial...)``, 0 to ln C.
    """
    return -(probability * torch.log(probability + _TINY)).sum(1, keepdim=True)


def normalised_entropy(probability: Tensor) -> Tensor:
    """Compute the mean entropy as a share of its maximum, ``mean_p H_p / ln C``.

    Grandvalet and Bengio, Semi-supervised learning by entropy minimization (NeurIPS 2004); Vu et
    al., ADVENT (CVPR 2019).

    Args:
        probability: ``(B, C, spatial...)`` with two classes or more.
    """
    return entropy(probability).mean() / math.log(probability.shape[1])


def pyramid_consistency(probabilities: list[Tensor]) -> Tensor:
    """Compute the disagreement of several predictions with their mean.

    Each voxel is weighted by its divergence from the mean.

    With ``q = mean_k p_k`` and ``V_k = sum_c p_k (ln p_k - ln q)``::

        L = mean_k [ mean((q - p_k)^2 exp(-V_k)) / (mean(exp(-V_k)) + 1e-8) + mean(V_k) ]

    Luo et al., Efficient semi-supervised gross target volume segmentation via uncertainty rectified
    pyramid consistency (MICCAI 2021).

    Args:
        probabilities: K predictions of shape ``(B, C, spatial...)``, all at full resolution.
    """
    mean = torch.stack(probabilities).mean(0)
    total = mean.new_zeros(())
    for probability in probabilities:
        divergence = probability * (torch.log(probability + _TINY) - torch.log(mean + _TINY))
        divergence = divergence.sum(1, keepdim=True)
        certainty = torch.exp(-divergence)
        rectified = ((mean - probability) ** 2 * certainty).mean() / (certainty.mean() + 1e-8)
        total = total + rectified + divergence.mean()
    return total / len(probabilities)
