"""Weak-to-strong consistency with CutMix: what is sure on the plain scan must hold on a hard view of it."""

from __future__ import annotations

from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.mean_teacher import TeacherTrainer
from monai_semiseg.engines.semisupervised import unlabelled
from monai_semiseg.losses.pseudo_label import WeightedDiceCELoss
from monai_semiseg.transforms.mixing import box_masks, paste_from_next


class WeakToStrongTrainer(TeacherTrainer):
    """Learn the teacher's confident decisions on the weak view from a strong view with pasted boxes.

    With ``q = softmax t(weak)``, pseudo-label ``argmax q`` and weight ``1[max q >= threshold]``, a box of every
    strong view, its pseudo-label and its weight are replaced by the next scan's (CutMix); the loss is
    :class:`~monai_semiseg.losses.pseudo_label.WeightedDiceCELoss`.

    FixMatch (Sohn et al., NeurIPS 2020); UniMatch (Yang et al., CVPR 2023); CutMix for segmentation (French et al.,
    BMVC 2020). The pseudo-labels come from a moving average of the student, which is steadier than the student with
    few labels; ``momentum: 0`` gives the original form.

    Args:
        threshold: least confidence of a pseudo-label that counts.
        box: least and largest side of the pasted box, as a share of the patch's.
        box_probability: of a sample to be pasted into.
        settings: of :class:`~monai_semiseg.engines.mean_teacher.TeacherTrainer`.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        box: tuple[float, float] = (0.3, 0.8),
        box_probability: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.threshold, self.box, self.box_probability = threshold, tuple(box), box_probability
        self.pseudo_loss = WeightedDiceCELoss()

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Supervised loss and the loss against the mixed pseudo-labels."""
        confidence, label = self.teach(unlabelled(batch, "weak")).max(1, keepdim=True)
        weight = (confidence >= self.threshold).float()
        mask = box_masks(batch["strong"], self.box[0], self.box[1], self.box_probability)
        mixed = {**batch, "strong": paste_from_next(batch["strong"], mask)}
        labelled, free = self.predict_both(mixed, "strong")
        target, weight = paste_from_next(label, mask), paste_from_next(weight, mask)
        return self.loss_function(labelled, batch[Keys.LABEL]), self.pseudo_loss(free, target, torch.as_tensor(weight))
