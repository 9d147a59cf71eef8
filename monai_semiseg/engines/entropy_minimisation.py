"""Entropy minimisation: certain predictions on unlabelled scans."""

from __future__ import annotations

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer
from monai_semiseg.losses.consistency import normalised_entropy


class EntropyMinimisationTrainer(SemiSupervisedTrainer):
    """Entropy minimisation on the unlabelled scans, ``L_u = mean_p H(f(x)_p) / ln C``.

    Grandvalet and Bengio (NeurIPS 2004); for segmentation Vu et al., ADVENT (CVPR 2019).
    """

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the supervised loss and the mean entropy."""
        labelled, free = self.predict_both(batch, "strong")
        supervised = self.loss_function(labelled, batch[Keys.LABEL])
        return supervised, normalised_entropy(torch.softmax(free, 1))
