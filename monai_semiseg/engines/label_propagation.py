"""Training on labels propagated by registration, together with a teacher's predictions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from monai_semiseg.engines.semisupervised import gaussian_ramp, unlabelled
from monai_semiseg.engines.weak_to_strong import WeakToStrongTrainer
from monai_semiseg.errors import ConfigError
from monai_semiseg.transforms.labels import with_background


class LabelPropagationTrainer(WeakToStrongTrainer):
    """Weak-to-strong consistency with targets from propagated labels and the teacher.

    With ``p`` the propagated labels
    (:class:`~monai_semiseg.transforms.propagation.PropagateLabelsd`) and ``ramp(t)`` of
    :func:`~monai_semiseg.engines.semisupervised.gaussian_ramp`, the target of an unlabelled scan
    is::

        q = (1 - r) p + r softmax t(weak),     r = teacher_share ramp(t)

    A network that knows few labelled scans errs where its own averages and ensembles err;
    registration errs elsewhere, so their mean is better than either. As the target is good from the
    first step, only the teacher's part is ramped
    up: leave ``ramp_iterations`` of the loss's weight at 0.

    Xu and Niethammer, DeepAtlas (MICCAI 2019), joined with the mean teacher's CutMix (French et
    al., BMVC 2020).

    Args:
        teacher_share: what the teacher has of the target in the end, 0 to 1.
        teacher_ramp: iterations of that ramp.
        soft: learn q itself; otherwise its decisions where it is confident.
        settings: of :class:`~monai_semiseg.engines.weak_to_strong.WeakToStrongTrainer`.

    Raises:
        ConfigError: If ``teacher_share`` or ``teacher_ramp`` is out of range.
    """

    def __init__(
        self,
        *,
        teacher_share: float = 0.5,
        teacher_ramp: int = 0,
        soft: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(soft=soft, **settings)
        if not 0 <= teacher_share <= 1 or teacher_ramp < 0:
            raise ConfigError(
                f"teacher_share {teacher_share}, teacher_ramp {teacher_ramp}",
                expected="0 to 1, and not negative",
            )
        self.teacher_share = teacher_share
        self.teacher_ramp = teacher_ramp

    def target(self, batch: dict[str, Tensor]) -> Tensor:
        """Return target probabilities of all classes, ``(B, C, spatial...)``."""
        propagated = with_background(unlabelled(batch, "propagated"))
        share = self.teacher_share * gaussian_ramp(self.state.iteration, self.teacher_ramp)
        return torch.lerp(propagated, super().target(batch), share)
