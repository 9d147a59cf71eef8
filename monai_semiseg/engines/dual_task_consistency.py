"""Dual-task consistency: segmentation and signed distance maps agree."""

from __future__ import annotations

from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer, unlabelled
from monai_semiseg.losses.signed_distance import (
    distance_loss,
    distance_to_probability,
    normalised_signed_distance,
)
from monai_semiseg.networks.auxiliary import PyramidHeads


class DualTaskConsistencyTrainer(SemiSupervisedTrainer):
    """Dual-task consistency (DTC): a second head predicts signed distance maps ``z = tanh(h(x))``.

    ``L_s = L(f(x), y) + b mean (z - sdf(y))^2`` on labelled scans (where the distance is known, if
    labels hold ``ignore``), and on all scans
    ``L_u = mean (1 / (1 + exp(k z)) - softmax f(x))^2`` over the foreground. Luo et al.,
    Semi-supervised medical image segmentation through dual-task consistency (AAAI 2021). The
    network without the second head is evaluated and shipped.

    Args:
        head: one head on the layer before the output, with as many outputs as there are foreground
            classes.
        distance_weight: b above.
        steepness: k above.
        settings: of :class:`~monai_semiseg.engines.semisupervised.SemiSupervisedTrainer`.
    """

    def __init__(
        self,
        *,
        head: PyramidHeads,
        distance_weight: float = 0.3,
        steepness: float = 1500.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.head = head
        self.distance_weight = distance_weight
        self.steepness = steepness

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the supervised loss of both tasks, and their agreement."""
        image, label = batch[Keys.IMAGE], batch[Keys.LABEL]
        logits, heads = self.head(self.network, torch.cat([image, unlabelled(batch, "strong")]))
        logits = logits.float()
        distance = torch.tanh(heads[0])
        target = normalised_signed_distance(label, logits.shape[1])
        of_distance = distance_loss(distance[: len(image)], target)
        supervised = self.loss_function(logits[: len(image)], label)
        supervised = supervised + self.distance_weight * of_distance
        foreground = torch.softmax(logits, 1)[:, 1:]
        difference = distance_to_probability(distance, self.steepness) - foreground
        return supervised, (difference**2).mean()
