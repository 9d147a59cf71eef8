"""Supervised losses that leave out voxels whose class nobody knows (label -1, ``ignore``)."""

from __future__ import annotations

from typing import Any

import torch
from monai.losses import DiceCELoss
from monai.networks.utils import one_hot
from torch import Tensor

from monai_semiseg.datasets.label_values import IGNORE


class IgnoringDiceCELoss(DiceCELoss):
    """MONAI's ``DiceCELoss`` over the voxels whose label is known.

    Voxels of label -1 are in no sum of Dice, and the cross-entropy is the mean over the others, as
    in nnU-Net. Without such voxels it is MONAI's loss, bit for bit; where there are no others, it
    is 0. With ``batch=False``, the Dice loss of a scan without known voxels is 0 in the mean.

    Args:
        settings: of MONAI's ``DiceCELoss``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.dice.ignore_index = IGNORE
        self.cross_entropy.ignore_index = IGNORE

    def ce(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the mean cross-entropy over the known voxels; 0 if there are none."""
        loss = super().ce(input, target)  # NaN, the mean over nothing
        return torch.where((target != IGNORE).any(), loss, 0.0)


def known_one_hot(label: Tensor, classes: int) -> Tensor:
    """Return class probabilities of a label: all classes alike where it is unknown.

    Args:
        label: class indices, ``(B, 1, spatial...)``; -1 where it is unknown.
        classes: number of classes with background.

    Returns:
        ``(B, classes, spatial...)``.
    """
    known: Tensor = one_hot(label.clamp_min(0), classes)
    return torch.where(label < 0, 1 / classes, known)
