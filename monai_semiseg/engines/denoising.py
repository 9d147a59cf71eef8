"""Denoising pretraining: a network learns to restore images without labels."""

from __future__ import annotations

from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer, unlabelled


class DenoisingTrainer(SemiSupervisedTrainer):
    """Restore clean images from noisy, partly erased ones: ``L = mean (f(x + n) - x)^2``.

    The whole network learns, encoder and decoder; only its last layer is new afterwards. Brempong
    et al., Denoising pretraining for semantic segmentation (CVPR Workshops 2022, arXiv:2205.11423).

    A batch holds ``image``, the damaged images, and ``clean``, the images before the damage, both
    ``(B, C, spatial...)``.

    Args:
        settings: of :class:`~monai_semiseg.engines.semisupervised.SemiSupervisedTrainer`;
            ``network`` is an :class:`~monai_semiseg.networks.embedding.Embedder` with as many
            dimensions as the images have channels, ``loss_function`` compares two images.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("loss_function", torch.nn.MSELoss())
        super().__init__(**settings)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, None]:
        """Compute the loss of the restored images; there is no unlabelled loss."""
        restored = self.predict(batch[Keys.IMAGE])
        return self.loss_function(restored, unlabelled(batch, "clean")), None
