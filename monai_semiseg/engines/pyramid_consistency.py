"""Uncertainty-rectified pyramid consistency between the scales of the decoder."""

from __future__ import annotations

from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer, unlabelled
from monai_semiseg.losses.consistency import pyramid_consistency
from monai_semiseg.networks.auxiliary import PyramidHeads


class PyramidConsistencyTrainer(SemiSupervisedTrainer):
    """Pyramid consistency (URPC): ``L_s`` averages all scales, ``L_u`` is their disagreement.

    Luo et al. (MICCAI 2021); see :func:`~monai_semiseg.losses.consistency.pyramid_consistency`. The
    network without the auxiliary heads is evaluated and shipped.

    Args:
        heads: on the coarser decoder layers; the network's own output is the finest scale.
        settings: of :class:`~monai_semiseg.engines.semisupervised.SemiSupervisedTrainer`.
    """

    def __init__(self, *, heads: PyramidHeads, **settings: Any) -> None:
        super().__init__(**settings)
        self.heads = heads

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the mean supervised loss of all scales, and their consistency loss."""
        count = len(batch[Keys.IMAGE])
        images = torch.cat([batch[Keys.IMAGE], unlabelled(batch, "strong")])
        logits, coarser = self.heads(self.network, images)
        scales = [logits.float(), *coarser]
        losses = [self.loss_function(scale[:count], batch[Keys.LABEL]) for scale in scales]
        probabilities = [torch.softmax(scale[count:], 1) for scale in scales]
        return torch.stack(losses).mean(), pyramid_consistency(probabilities)
