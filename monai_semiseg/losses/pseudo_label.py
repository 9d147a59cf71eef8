"""Dice and cross-entropy with a weight per voxel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class WeightedDiceCELoss(nn.Module):
    """Cross-entropy plus soft Dice of the foreground classes, both with a weight per voxel.

    With softmax ``p``, one-hot label ``y`` and weights ``w``, over the whole batch::

        CE   = mean_p w_p (-ln p_{p, y_p})
        Dice = 1 - mean_c (2 sum_p w_p p_pc y_pc + s) / (sum_p w_p (p_pc + y_pc) + s)      c > 0

    The cross-entropy is averaged over all voxels, also those of weight 0: few confident voxels pull
    little, as in FixMatch (Sohn et al., NeurIPS 2020). With all weights 1 this is MONAI's
    ``DiceCELoss(batch=True, include_background=False)``. Voxels of label -1 (``ignore``) have
    weight 0.

    A soft target ``q`` takes the place of ``y`` with ``min(p, q)`` in place of ``p y``, which is
    the same for 0 and 1; the loss is then least where ``p = q`` (Wang et al., Dice semimetric
    losses, MICCAI 2023).

    Args:
        smoothing: s above.
    """

    def __init__(self, smoothing: float = 1e-5) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: ``(B, C, spatial...)``.
            label: class indices, ``(B, 1, spatial...)``, or probabilities, ``(B, C, spatial...)``.
            weight: ``(B, 1, spatial...)``.
        """
        probability = torch.softmax(logits, 1)
        if label.shape[1] == 1:
            weight = torch.where(label < 0, 0.0, weight)
            index = label[:, 0].clamp_min(0).long()
            cross_entropy = weighted_cross_entropy(logits, index, weight)
            target = torch.zeros_like(probability).scatter_(1, index[:, None], 1.0)
            common = probability * target
        else:
            cross_entropy = weighted_cross_entropy(logits, label, weight)
            target = label
            common = torch.minimum(probability, target)
        axes = [0, *range(2, logits.ndim)]
        overlap = (weight * common).sum(axes)[1:]
        size = (weight * (probability + target)).sum(axes)[1:]
        dice = 1 - (2 * overlap + self.smoothing) / (size + self.smoothing)
        return cross_entropy + dice.mean()


def weighted_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Compute ``mean_p w_p (- sum_c q_pc ln p_pc)``, the cross-entropy against probabilities q.

    It is averaged over all voxels, also those of weight 0.

    Args:
        logits: ``(B, C, spatial...)``.
        target: probabilities of the same shape, or class indices, ``(B, spatial...)``.
        weight: ``(B, 1, spatial...)``.
    """
    return (weight[:, 0] * functional.cross_entropy(logits, target, reduction="none")).mean()
