"""Unsupervised pretraining of the diffusion teacher: masks that help to rebuild the image."""

from __future__ import annotations

import logging
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer
from monai_semiseg.errors import ConfigError
from monai_semiseg.losses.consistency import entropy
from monai_semiseg.losses.cycle import class_shares, coarsened, discretised, missing_share
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher

logger = logging.getLogger(__name__)


class DiffusionPretrainer(SemiSupervisedTrainer):
    """Pretraining of the diffusion teacher by the cycle image -> mask -> image.

    ``L = mean (G(x_t, S(M(m_s, x, s)), t) - v)^2 + w_b L_balance + w_e H(p)``.

    ``S`` makes one-hot decisions (straight-through) and averages over ``bottleneck`` voxels; the
    gradient reaches both pathways. One mask in ``steps`` starts as pure noise, as in testing; the
    others are M's mask of that noise, noised again to a random s, so that M is trained for all DDIM
    steps. ``t`` is at least ``lowest_noise`` of the schedule: an image with less noise can be
    rebuilt without a mask.

    Batches hold ``image`` ``(B, C, spatial...)``; labels are not used, nor is ``loss_function``.

    Args:
        network: the teacher.
        discrete: whether S makes decisions; False keeps probabilities.
        bottleneck: S's averaging, in voxels; 1 is none.
        lowest_noise: see above.
        least_share: share of a batch's voxels below which a class is penalised
            (:func:`~monai_semiseg.losses.cycle.missing_share`).
        balance_weight: w_b.
        entropy_weight: w_e, of the mean entropy of a voxel.
        settings: of :class:`~monai_semiseg.engines.semisupervised.SemiSupervisedTrainer`.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        *,
        network: DiffusionTeacher,
        discrete: bool = True,
        bottleneck: int = 1,
        lowest_noise: float = 0.4,
        least_share: float = 0.05,
        balance_weight: float = 1.0,
        entropy_weight: float = 0.0,
        **settings: Any,
    ) -> None:
        shares_fit = 0 < least_share * network.classes <= 1
        if bottleneck < 1 or not 0 <= lowest_noise < 1 or not shares_fit:
            raise ConfigError(
                f"bottleneck {bottleneck}, lowest_noise {lowest_noise}, least_share {least_share}",
                expected=f"at least 1, 0 to below 1, more than 0 and at most 1 / {network.classes}",
            )
        super().__init__(network=network, loss_function=torch.nn.Identity(), **settings)
        self.teacher = network
        self.discrete = discrete
        self.bottleneck = bottleneck
        self.lowest_noise = lowest_noise
        self.least_share = least_share
        self.balance_weight = balance_weight
        self.entropy_weight = entropy_weight
        self.masks: Tensor | None = None

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, None]:
        """Compute the cycle's loss; there is no unlabelled loss."""
        images = batch[Keys.IMAGE]
        logits = self.teacher.mask_logits(*self._beginning(images))
        masks = torch.softmax(logits, 1)
        self.masks = masks.detach()
        shown = coarsened(discretised(masks) if self.discrete else masks, self.bottleneck)
        loss = self.teacher.image_loss(images, shown, self.lowest_noise)
        loss = loss + self.balance_weight * missing_share(masks, self.least_share)
        return loss + self.entropy_weight * entropy(masks).mean(), None

    @torch.no_grad()
    def _beginning(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return noisy initial masks, the images, and the masks' timesteps."""
        fresh = self.teacher.start(images)

        def own(timesteps: Tensor) -> Tensor:
            return torch.softmax(self.teacher.mask_logits(fresh, images, timesteps), 1)

        noisy, timesteps = self.teacher.training_start(fresh, own)
        return noisy, images, timesteps


class CollapseMonitor:
    """MONAI handler that warns, once an epoch, of missing classes and undecided masks.

    Args:
        least_share: share of the voxels below which a class counts as missing.
        most_entropy: share of ``ln classes`` above which masks count as undecided.
    """

    def __init__(self, least_share: float = 0.01, most_entropy: float = 0.9) -> None:
        self.least_share = least_share
        self.most_entropy = most_entropy

    def attach(self, engine: Engine) -> None:
        """Check the last batch of every epoch."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._look)

    def _look(self, engine: DiffusionPretrainer) -> None:
        masks = engine.masks
        if masks is None:
            return
        shares = [round(share, 3) for share in class_shares(masks).tolist()]
        most = float(torch.log(torch.tensor(float(len(shares)))))
        relative = float(entropy(masks).mean()) / most
        logger.info(
            "iteration %d: shares of the classes %s, entropy %.2f",
            engine.state.iteration,
            shares,
            relative,
        )
        if min(shares) < self.least_share:
            logger.warning(
                "the mask has collapsed: class %d has %.1f %% of the voxels; "
                "raise balance_weight or least_share",
                shares.index(min(shares)),
                100 * min(shares),
            )
        if relative > self.most_entropy:
            logger.warning(
                "the mask is undecided: entropy is %.0f %% of its maximum; "
                "raise entropy_weight or train longer",
                100 * relative,
            )
