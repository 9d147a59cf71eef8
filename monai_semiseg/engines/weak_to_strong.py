"""Weak-to-strong consistency with CutMix."""

from __future__ import annotations

from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor
from torch.nn import functional

from monai_semiseg.engines.mean_teacher import TeacherTrainer
from monai_semiseg.engines.semisupervised import unlabelled
from monai_semiseg.losses.pseudo_label import WeightedDiceCELoss
from monai_semiseg.transforms.mixing import box_masks, paste_from_next


class WeakToStrongTrainer(TeacherTrainer):
    """Learning of the teacher's confident decisions on a strong view with pasted boxes (CutMix).

    With ``q = softmax t(weak)``, pseudo-label ``argmax q`` and weight ``1[max q >= threshold]``, a
    box of every strong view, its pseudo-label and its weight are replaced by the next scan's
    (CutMix); the loss is :class:`~monai_semiseg.losses.pseudo_label.WeightedDiceCELoss`.

    FixMatch (Sohn et al., NeurIPS 2020); UniMatch (Yang et al., CVPR 2023); CutMix for segmentation
    (French et al., BMVC 2020). The pseudo-labels come from a moving average of the student, which
    is steadier than the student with few labels; ``momentum: 0`` gives the original form.

    With ``soft`` targets the student learns ``q`` itself, by cross-entropy over all voxels: also
    the uncertain voxels at a structure's border count, and no decision there is treated as
    certain. With ``dice`` a soft Dice term joins: the cross-entropy of small structures is small.

    Args:
        soft: learn probabilities instead of decisions.
        dice: add the soft Dice term to the cross-entropy of soft targets.
        threshold: least confidence of a pseudo-label that counts.
        box: least and largest side of the pasted box, as a share of the patch's.
        box_probability: probability that a sample gets a box.
        settings: of :class:`~monai_semiseg.engines.mean_teacher.TeacherTrainer`.
    """

    def __init__(
        self,
        *,
        soft: bool = False,
        dice: bool = False,
        threshold: float = 0.95,
        box: tuple[float, float] = (0.3, 0.8),
        box_probability: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.soft = soft
        self.dice = dice
        self.threshold = threshold
        self.box = tuple(box)
        self.box_probability = box_probability
        self.pseudo_loss = WeightedDiceCELoss()

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the supervised loss and the loss against the mixed pseudo-labels."""
        target = self.target(batch)
        mask = box_masks(batch["strong"], self.box[0], self.box[1], self.box_probability)
        mixed = {**batch, "strong": paste_from_next(batch["strong"], mask)}
        labelled, free = self.predict_both(mixed, "strong")
        consistency = self.agreement(free, paste_from_next(target, mask))
        return self.loss_function(labelled, batch[Keys.LABEL]), consistency

    def target(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the target for the unlabelled scans, ``(B, C, spatial...)``; no gradient."""
        return self.teach(unlabelled(batch, "weak"))

    def agreement(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of the student's logits against the teacher's (mixed) probabilities."""
        if self.soft and not self.dice:
            return functional.cross_entropy(logits, target)
        if self.soft:
            soft: Tensor = self.pseudo_loss(logits, target, torch.ones_like(target[:, :1]))
            return soft
        confidence, label = target.max(1, keepdim=True)
        loss: Tensor = self.pseudo_loss(logits, label, (confidence >= self.threshold).float())
        return loss
