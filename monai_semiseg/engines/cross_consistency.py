"""Cross-consistency training: decoders of perturbed features agree with the main decoder."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer, unlabelled
from monai_semiseg.handlers.step_output import StepOutput
from monai_semiseg.losses.consistency import probability_mse
from monai_semiseg.networks.auxiliary import PerturbedDecoders


class CrossConsistencyTrainer(SemiSupervisedTrainer):
    """Cross-consistency of the main decoder and decoders of perturbed features.

    ``L_u = mean_k mean (softmax g(e(x)) - softmax g_k(perturb_k(e(x))))^2`` on unlabelled scans.

    One shared encoder e, the main decoder g (no gradient in this loss), and decoders g_k of their
    own weights. Ouali et al., Semi-supervised semantic segmentation with cross-consistency training
    (CVPR 2020). The network with its main decoder is evaluated and shipped.

    Args:
        decoders: the auxiliary decoders.
        settings: of :class:`~monai_semiseg.engines.semisupervised.SemiSupervisedTrainer`.
    """

    def __init__(self, *, decoders: PerturbedDecoders, **settings: Any) -> None:
        super().__init__(**settings)
        self.decoders = decoders.to(torch.device(settings["device"]))

    def _iteration(self, engine: Engine, batchdata: dict[str, Tensor]) -> StepOutput:
        self.decoders.train()
        return super()._iteration(engine, batchdata)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the main decoder's supervised loss, and the others' agreement with it."""
        count = len(batch[Keys.IMAGE])
        images = torch.cat([batch[Keys.IMAGE], unlabelled(batch, "strong")])
        logits, perturbed = self.decoders(self.network, images, count)
        target = torch.softmax(logits[count:].float(), 1)
        agreement = torch.stack(
            [probability_mse(torch.softmax(one.float(), 1), target) for one in perturbed]
        )
        return self.loss_function(logits[:count].float(), batch[Keys.LABEL]), agreement.mean()
