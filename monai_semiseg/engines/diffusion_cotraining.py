"""Co-training of a student and a diffusion teacher on unlabelled scans."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_semiseg.engines.mean_teacher import TeacherTrainer
from monai_semiseg.engines.semisupervised import unlabelled
from monai_semiseg.errors import ConfigError
from monai_semiseg.losses.ignoring import known_one_hot
from monai_semiseg.losses.pseudo_label import weighted_cross_entropy
from monai_semiseg.networks.class_alignment import best_order, confusion, reorder_classes
from monai_semiseg.networks.diffusion_teacher import (
    DiffusionTeacher,
    aggregated,
    changed_shares,
    rounds_as_text,
)
from monai_semiseg.transforms.mixing import box_masks, paste_from_donors

logger = logging.getLogger(__name__)


class DiffusionCoTrainer(TeacherTrainer):
    """Co-training of student S, its moving average A, and a diffusion teacher of pathways M and G.

    On labelled scans ``L_s = L(S(x), y) + L(M(m_t, x, t), y) + w_r L_G(x, y)``, with L the
    supervised loss, ``m_t`` the noised label or pure noise, and ``L_G = mean (G(x_t, y, t) -
    v)^2``. On unlabelled scans, with ``p_0 ... p_R`` from the teacher's
    :meth:`~monai_semiseg.networks.diffusion_teacher.DiffusionTeacher.rounds`, their mean ``p``,
    their agreement ``a`` and ``A = softmax A(weak)``, all without gradient, each network learns
    the other's prediction, mixed with the share s of its own; u is the strong view with boxes from
    other scans::

        L_u = mean a CE(S(u), mixed(q_S)) + mean a CE(M(noise, u), mixed(q_M))
              + g CE(M(noise, x_j), q_M)
        q_S = (1 - s) p + s A
        q_M = (1 - s) A + s p

    and ``w_r L_G(x, p)`` is added to L_s. A box comes from a labelled scan, with its label, with
    probability ``labelled_boxes``, otherwise from the next unlabelled scan. The alignment term (the
    last one) of each round needs a pass of its own through M, so each iteration computes it for one
    random round j: in expectation, this is the mean over rounds.

    Where a label is ``ignore`` (-1), no loss counts: neither L nor L_G, nor a CE of a pasted box.
    The noised label and G's mask have the same probability for all classes there.

    Ciampi et al. (arXiv 2504.01547), whose public code does not chain its rounds; cross pseudo
    supervision: Chen et al. (CVPR 2021); CutMix: French et al. (BMVC 2020); boxes of labelled scans
    in unlabelled ones: Bai et al., Bidirectional copy-paste (CVPR 2023).

    Args:
        diffusion_teacher: M and G; if their weights are from an unsupervised stage, ``aligned`` has
            to be true.
        rounds: R.
        rounds_every: iterations from one use of rounds (and step of G) to the next; those between
            use ``p = p_0``.
        agreement: whether voxels are weighted by a; otherwise all have weight 1.
        own_share: s, the share of a network's own prediction in its target; 0 is pure cross
            supervision, and at 1/2 both networks have the same target.
        aligned: before the first step, match the teacher's classes to the labels of
            ``alignment_batches`` batches of labelled scans.
        alignment_batches: see above.
        alignment_weight: g.
        reconstruction_weight: w_r.
        box: least and largest side of CutMix's box, as a share of the patch's.
        box_probability: probability that a sample gets a box; 0 switches CutMix off.
        labelled_boxes: probability that a box comes from a labelled scan.
        settings: of :class:`~monai_semiseg.engines.mean_teacher.TeacherTrainer`: its ``teacher`` is
            A; ``momentum: 0`` makes it S itself.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        *,
        diffusion_teacher: DiffusionTeacher,
        rounds: int = 1,
        rounds_every: int = 1,
        agreement: bool = True,
        own_share: float = 0.5,
        aligned: bool = True,
        alignment_batches: int = 8,
        alignment_weight: float = 1.0,
        reconstruction_weight: float = 1.0,
        box: Sequence[float] = (0.3, 0.8),
        box_probability: float = 1.0,
        labelled_boxes: float = 0.5,
        **settings: Any,
    ) -> None:
        if not (0 <= own_share <= 1 and 0 <= labelled_boxes <= 1):
            raise ConfigError(
                f"own_share {own_share}, labelled_boxes {labelled_boxes}", expected="0 to 1"
            )
        if rounds < 0 or rounds_every < 1 or alignment_batches < 1:
            raise ConfigError(
                f"rounds {rounds}, rounds_every {rounds_every}, "
                f"alignment_batches {alignment_batches}",
                expected="at least 0, 1 and 1",
            )
        super().__init__(**settings)
        self.diffusion_teacher = diffusion_teacher
        self.rounds = rounds
        self.rounds_every = rounds_every
        self.agreement = agreement
        self.aligned = aligned
        self.alignment_batches = alignment_batches
        self.own_share = own_share
        self.labelled_boxes = labelled_boxes
        self.alignment_weight = alignment_weight
        self.reconstruction_weight = reconstruction_weight
        self.box = tuple(box)
        self.box_probability = box_probability
        self._changes: list[Tensor] = []  # of this epoch
        self.add_event_handler(Events.EPOCH_COMPLETED, self._log_changes)

    def before_first_step(self) -> None:
        """Start A from S, and align the diffusion teacher's classes."""
        super().before_first_step()
        if self.aligned:
            self._align()

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the supervised loss of S, M and G, and the loss of S and M against each other."""
        self.diffusion_teacher.train()
        weak, strong = unlabelled(batch, "weak"), unlabelled(batch, "strong")
        rebuilds = self.rounds > 0 and self.state.iteration % self.rounds_every == 0
        target, agreement, seen = self.pseudo_labels(batch, rebuilds)
        own = self.teach(weak)
        for_student = torch.lerp(target, own, self.own_share)
        for_teacher = torch.lerp(own, target, self.own_share)
        weight = agreement if self.agreement else torch.ones_like(agreement)
        label = batch[Keys.LABEL]
        truth = known_one_hot(label, self.diffusion_teacher.classes)
        known = (batch[Keys.IMAGE], truth, truth, (label >= 0).float())
        free = (strong, for_student, for_teacher, weight)
        images, student_target, teacher_target, weight = self._mixed(known, free)
        supervised, student = self._student(batch, images, student_target, weight)
        examples = [(images, teacher_target, weight)]
        if seen:
            image = seen[int(torch.randint(len(seen), ()))]
            examples.append((image, for_teacher, torch.full_like(weight, self.alignment_weight)))
        from_labels, cross = self._teacher(batch, truth, examples)
        supervised = supervised + from_labels
        if rebuilds:
            images = torch.cat([batch[Keys.IMAGE], weak])
            left_out = torch.cat([label < 0, torch.zeros_like(weak[:, :1], dtype=torch.bool)])
            rebuilt = self.diffusion_teacher.image_loss(
                images, torch.cat([truth, target]), left_out=left_out
            )
            supervised = supervised + self.reconstruction_weight * rebuilt
        return supervised, student + cross

    def pseudo_labels(
        self, batch: dict[str, Tensor], rebuilds: bool
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return p, a and ``x_1 ... x_R`` of the unlabelled scans, without gradient.

        There is no ``x_j`` where nothing is rebuilt.
        """
        rounds = self.rounds if rebuilds else 0
        masks, seen = self.diffusion_teacher.rounds(unlabelled(batch, "weak"), rounds)
        if rounds:
            self._changes.append(changed_shares(masks))
        target, agreement = aggregated(masks)
        return target, agreement, seen

    def _log_changes(self) -> None:
        """Say whether the rounds of this epoch differ: else they are work for nothing."""
        if self._changes:
            logger.info("%s", rounds_as_text(torch.stack(self._changes).mean(0).tolist()))
            self._changes.clear()

    def _mixed(self, known: Sequence[Tensor], free: Sequence[Tensor]) -> list[Tensor]:
        """Paste boxes of labelled or other unlabelled scans into images, targets and weights."""
        mask = box_masks(free[0], self.box[0], self.box[1], self.box_probability)
        given = (torch.rand(len(mask)) < self.labelled_boxes).to(mask.device)
        return [
            paste_from_donors(batch, donors, mask, given)
            for batch, donors in zip(free, known, strict=True)
        ]

    def _student(
        self, batch: dict[str, Tensor], mixed: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        labelled, free = self.predict_both({**batch, "strong": mixed}, "strong")
        supervised = self.loss_function(labelled, batch[Keys.LABEL])
        return supervised, weighted_cross_entropy(free, target, weight)

    def _teacher(
        self,
        batch: dict[str, Tensor],
        truth: Tensor,
        examples: Sequence[tuple[Tensor, Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Compute M's loss against the labels, and against weighted targets on further images."""
        free = torch.cat([images for images, _, _ in examples])
        fresh = self.diffusion_teacher.start(batch[Keys.IMAGE])
        noisy, timesteps = self.diffusion_teacher.training_start(fresh, lambda _: truth)
        last = torch.full((len(free),), self.diffusion_teacher.last, device=free.device)
        logits = self.diffusion_teacher.mask_logits(
            torch.cat([noisy, self.diffusion_teacher.start(free)]),
            torch.cat([batch[Keys.IMAGE], free]),
            torch.cat([timesteps, last]),
        )
        sizes = [len(images) for images, _, _ in examples]
        known, *others = torch.split(logits, [len(truth), *sizes])
        losses = [
            weighted_cross_entropy(predicted, target, weight)
            for predicted, (_, target, weight) in zip(others, examples, strict=True)
        ]
        return self.loss_function(known, batch[Keys.LABEL]), torch.stack(losses).sum()

    @torch.no_grad()
    def _align(self) -> None:
        device = torch.device(self.state.device)
        counts = torch.zeros(0)
        for number, batch in enumerate(self.data_loader):
            if number == self.alignment_batches:
                break
            probabilities = self.diffusion_teacher.sample(batch[Keys.IMAGE].to(device))
            found = confusion(probabilities, batch[Keys.LABEL].to(device))
            counts = found if number == 0 else counts + found
        if dist.is_available() and dist.is_initialized():
            counts = counts.to(device)
            dist.all_reduce(counts)
        order, dice = best_order(counts.cpu())
        reorder_classes(self.diffusion_teacher, order)
        logger.info(
            "the teacher's classes %s are labels %s, Dice %s",
            order,
            list(range(len(order))),
            [round(value, 3) for value in dice],
        )
