"""Bidirectional copy-paste: labelled and unlabelled scans exchange boxes."""

from __future__ import annotations

from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.mean_teacher import TeacherTrainer
from monai_semiseg.engines.semisupervised import unlabelled
from monai_semiseg.losses.pseudo_label import WeightedDiceCELoss
from monai_semiseg.transforms.mixing import box_masks


class BidirectionalCopyPasteTrainer(TeacherTrainer):
    """Mix each labelled scan with an unlabelled one both ways, and labels with pseudo-labels.

    With box mask M (1 outside the box): inward ``x_in = M u + (1 - M) l`` and outward ``x_out = M l
    + (1 - M) u``. In either, voxels of the labelled scan have weight 1 (0 if their label is
    ``ignore``) and voxels with a pseudo-label ``pseudo_weight``::

        L_u = L(f(x_in), y_in) + L(f(x_out), y_out)

    Bai et al., Bidirectional copy-paste for semi-supervised medical image segmentation (CVPR 2023).
    Their separate pre-training on pasted labelled scans is replaced by the ramp; their
    largest-component rule is omitted, because some structures have several components.

    Args:
        box: least and largest side of the box, as a share of the patch's.
        pseudo_weight: alpha of the paper.
        settings: of :class:`~monai_semiseg.engines.mean_teacher.TeacherTrainer`.
    """

    def __init__(
        self, *, box: tuple[float, float] = (0.6, 0.75), pseudo_weight: float = 0.5, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.box = tuple(box)
        self.pseudo_weight = pseudo_weight
        self.mixed_loss = WeightedDiceCELoss()

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the supervised loss of the plain labelled scans, and both mixtures' loss."""
        image = batch[Keys.IMAGE]
        label = batch[Keys.LABEL]
        free = unlabelled(batch, "strong")
        pseudo = self.teach(unlabelled(batch, "weak")).argmax(1, keepdim=True).to(label.dtype)
        box = box_masks(image, self.box[0], self.box[1])
        mixtures = [torch.where(box, image, free), torch.where(box, free, image)]
        plain, inward, outward = self.predict(torch.cat([image, *mixtures])).chunk(3)
        loss = self.mixed_loss(inward, torch.where(box, label, pseudo), self._weight(box))
        loss = loss + self.mixed_loss(outward, torch.where(box, pseudo, label), self._weight(~box))
        return self.loss_function(plain, label), loss

    def _weight(self, labelled: Tensor) -> Tensor:
        return torch.where(labelled, 1.0, self.pseudo_weight)
