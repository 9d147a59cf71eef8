"""Mean teacher, and its uncertainty-aware form."""

from __future__ import annotations

import math
from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer, gaussian_ramp, unlabelled
from monai_semiseg.losses.consistency import entropy, probability_mse
from monai_semiseg.networks.average import MovingAverage


class TeacherTrainer(SemiSupervisedTrainer):
    """Base of all methods with a teacher, a network that follows the student as its moving average.

    Args:
        teacher: network of the same architecture, which is evaluated and shipped.
        momentum: see :class:`~monai_semiseg.networks.average.MovingAverage`.
        settings: of :class:`~monai_semiseg.engines.semisupervised.SemiSupervisedTrainer`.
    """

    def __init__(self, *, teacher: nn.Module, momentum: float = 0.99, **settings: Any) -> None:
        super().__init__(**settings)
        self.teacher = teacher
        self.average = MovingAverage(teacher, self.network, momentum)

    def before_first_step(self) -> None:
        """Copy the student's initial weights to the teacher."""
        self.average.reset()

    def after_step(self, iteration: int) -> None:
        """Update the teacher."""
        self.average.update(iteration)

    @torch.no_grad()
    def teach(self, images: Tensor) -> Tensor:
        """Return class probabilities of the teacher, without gradient."""
        self.teacher.eval()  # the validation engine and the trainer share it
        return torch.softmax(self.predict(images, self.teacher), 1)


class MeanTeacherTrainer(TeacherTrainer):
    """Mean teacher: consistency with the teacher t on a noisy view.

    ``L_u = mean (softmax f(x) - softmax t(x + n))^2``, ``n = clip(s N(0, 1), -2s, 2s)``.

    Tarvainen and Valpola (NeurIPS 2017); noise as in Yu et al. (MICCAI 2019), for images of unit
    variance.

    Args:
        noise: s above.
        settings: of :class:`TeacherTrainer`.
    """

    def __init__(self, *, noise: float = 0.1, **settings: Any) -> None:
        super().__init__(**settings)
        self.noise = noise

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the supervised loss and the consistency loss."""
        labelled, free = self.predict_both(batch, "strong")
        images = unlabelled(batch, "strong")
        consistency = self.consistency(torch.softmax(free, 1), images)
        return self.loss_function(labelled, batch[Keys.LABEL]), consistency

    def consistency(self, student: Tensor, images: Tensor) -> Tensor:
        """Compute the disagreement of the student's probabilities with the teacher's."""
        return probability_mse(student, self.teach(self.noisy(images)))

    def noisy(self, images: Tensor) -> Tensor:
        """Add clipped Gaussian noise to images."""
        noise = self.noise * torch.randn_like(images)
        return images + noise.clamp(-2 * self.noise, 2 * self.noise)


class UncertaintyAwareTrainer(MeanTeacherTrainer):
    """Uncertainty-aware mean teacher (UA-MT), which learns only where the teacher is certain.

    The teacher predicts the scan ``passes`` times with new noise (and dropout, if the network has
    any). With ``H`` the entropy of the mean probability, a voxel counts if ``H < (0.75 + 0.25
    ramp(t)) ln C``; the consistency of :class:`MeanTeacherTrainer` is averaged over these voxels.
    Yu et al., Uncertainty-aware self-ensembling model for semi-supervised 3D left atrium
    segmentation (MICCAI 2019).

    Args:
        passes: noisy passes of the teacher.
        settings: of :class:`MeanTeacherTrainer`; ``ramp_iterations`` also ramps the threshold.
    """

    def __init__(self, *, passes: int = 8, **settings: Any) -> None:
        super().__init__(**settings)
        self.passes = passes

    def consistency(self, student: Tensor, images: Tensor) -> Tensor:
        """Compute the disagreement where the teacher is certain."""
        share = 0.75 + 0.25 * gaussian_ramp(self.state.iteration, self.ramp_iterations)
        certain = (self.uncertainty(images) < share * math.log(student.shape[1])).float()
        return probability_mse(student, self.teach(self.noisy(images)), certain)

    @torch.no_grad()
    def uncertainty(self, images: Tensor) -> Tensor:
        """Compute the entropy of the teacher's mean probability, ``(B, 1, spatial...)``."""
        self.teacher.eval()
        for module in self.teacher.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.train()
        mean = sum(
            torch.softmax(self.predict(self.noisy(images), self.teacher), 1)
            for _ in range(self.passes)
        )
        return entropy(torch.as_tensor(mean) / self.passes)
