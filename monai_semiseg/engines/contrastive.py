"""Contrastive pretraining on two views of every scan."""

from __future__ import annotations

from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer, unlabelled


class ContrastTrainer(SemiSupervisedTrainer):
    """Contrast two views of every scan, without labels.

    ``loss_function`` takes the embeddings of both views, such as
    :class:`~monai_semiseg.losses.contrastive.GlobalContrast`, or
    :class:`~monai_semiseg.losses.contrastive.SelfLocalContrast` for views of one geometry. A batch
    holds ``image`` and ``second``, both ``(B, C, spatial...)``.

    Args:
        settings: of :class:`~monai_semiseg.engines.semisupervised.SemiSupervisedTrainer`;
            ``network`` is an :class:`~monai_semiseg.networks.embedding.Embedder`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.embeddings: Tensor | None = None
        self.labels: Tensor | None = None

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, None]:
        """Compute the loss of the two views; there is no unlabelled loss."""
        self.embeddings = self._embed(batch)
        first, second = self.embeddings.chunk(2)
        return self.loss_function(first, second), None

    def _embed(self, batch: dict[str, Tensor]) -> Tensor:
        return self.predict(torch.cat([batch[Keys.IMAGE], unlabelled(batch, "second")]))


class SupervisedContrastTrainer(ContrastTrainer):
    """Contrast the voxels of labelled scans by their classes.

    ``loss_function`` takes embeddings and labels, such as
    :class:`~monai_semiseg.losses.contrastive.LocalContrast`. A batch holds ``image``, ``label``,
    ``second`` and ``second_label``: every view has labels of its own.
    """

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, None]:
        """Compute the loss of all voxels of both views."""
        self.embeddings = self._embed(batch)
        self.labels = torch.cat([batch[Keys.LABEL], unlabelled(batch, "second_label")])
        return self.loss_function(self.embeddings, self.labels), None
