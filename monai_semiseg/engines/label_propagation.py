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

    Where p is NaN, because the labels are ``ignore`` there, q is the teacher's alone.

    A network trained on few labelled scans and its moving averages make the same errors;
    registration makes others, so their mean is better than either. The propagated labels are good
    from the first step, so only the teacher's part is ramped up: leave ``ramp_iterations`` of the
    loss's weight at 0.

    Xu and Niethammer, DeepAtlas (MICCAI 2019), joined with the mean teacher's CutMix (French et
    al., BMVC 2020).

    Args:
        teacher_share: final share of the teacher in the target, 0 to 1.
        teacher_ramp: iterations of that ramp.
        soft: learn q itself; otherwise its confident decisions.
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
        taught = super().target(batch)
        return torch.where(propagated.isnan(), taught, torch.lerp(propagated, taught, share))
