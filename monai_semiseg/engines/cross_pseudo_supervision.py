"""Cross pseudo supervision: two networks teach each other."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from torch.nn import functional

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer
from monai_semiseg.handlers.step_output import StepOutput


class CrossPseudoSupervisionTrainer(SemiSupervisedTrainer):
    """Cross pseudo supervision of two networks on labelled and unlabelled scans.

    ``L_u = CE(f1(x), argmax f2(x)) + CE(f2(x), argmax f1(x))``.

    Chen et al., Semi-supervised semantic segmentation with cross pseudo supervision (CVPR 2021).
    Both networks learn from the labels; the first is evaluated and shipped. They must differ: the
    second has other random initial weights, and if both start from one file, noise of
    ``symmetry_breaking`` times each tensor's standard deviation is added to its weights.

    Args:
        partner: the second network.
        symmetry_breaking: see above; 0 adds no noise.
        settings: of :class:`~monai_semiseg.engines.semisupervised.SemiSupervisedTrainer`.
    """

    def __init__(
        self, *, partner: nn.Module, symmetry_breaking: float = 0.1, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.partner = partner
        self.symmetry_breaking = symmetry_breaking

    @torch.no_grad()
    def before_first_step(self) -> None:
        """Break the symmetry of two networks that start from the same weights."""
        for own, other in zip(self.network.parameters(), self.partner.parameters(), strict=True):
            equal = own.shape == other.shape and torch.equal(own, other)
            if equal and other.numel() > 1 and own.std() > 0:
                other.add_(self.symmetry_breaking * other.std() * torch.randn_like(other))

    def _iteration(self, engine: Engine, batchdata: dict[str, Tensor]) -> StepOutput:
        self.partner.train()
        return super()._iteration(engine, batchdata)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute both networks' supervised loss, and cross-entropy with each other's decision."""
        first = torch.cat(self.predict_both(batch, "strong", self.network))
        second = torch.cat(self.predict_both(batch, "strong", self.partner))
        count = len(batch[Keys.LABEL])
        supervised = self.loss_function(first[:count], batch[Keys.LABEL])
        supervised = supervised + self.loss_function(second[:count], batch[Keys.LABEL])
        cross = functional.cross_entropy(first, second.argmax(1))
        cross = cross + functional.cross_entropy(second, first.argmax(1))
        return supervised, cross
