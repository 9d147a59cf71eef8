"""Contrastive losses between scans, and between their voxels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.losses.gathered import gather_rows, mean_over_processes, process_count
from monai_semiseg.losses.grids import blocks, origin_through_foreground, random_origin, strided
from monai_semiseg.losses.supervised_contrast import FORMS, contrast


class GlobalContrast(nn.Module):
    """NT-Xent loss: two views of a scan are positives, all other scans of the batch negatives.

    ``l_i = -z_i . z_j(i) / t + log sum_{k != i} exp(z_i . z_k / t)``, mean over all 2 B views. Chen
    et al., A simple framework for contrastive learning of visual representations (ICML 2020).

    Args:
        temperature: t above.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            first: embeddings of one view, ``(B, D)``.
            second: of the other.

        Raises:
            ConfigError: If there is only one scan: there are no negatives.
        """
        scans = len(first) * process_count()
        if scans < 2:
            raise ConfigError("global contrast of one scan", expected="at least 2 scans in a batch")
        _, offset = gather_rows(first.detach())
        index = torch.arange(len(first), device=first.device) + offset
        views = torch.cat([first, second])
        total, count = contrast(views, index.repeat(2), temperature=self.temperature)
        return mean_over_processes(total, count)


class LocalContrast(nn.Module):
    """Supervised contrast between voxels: those of one class are positives, in all scans and views.

    Background voxels are negatives, but never anchors; voxels of label -1 (``ignore``) are left
    out. Three settings bound the cost, and may be
    combined: ``stride`` takes every s-th voxel along each axis, from an origin drawn in every step
    (with a fixed grid, a network with transposed convolutions would learn the voxels of the grid
    only); ``block`` divides the map into cubes and contrasts within each, over all scans and views;
    ``anchors`` draws that many anchors of each class, against all. A batch without foreground gives
    0, with a graph. Hu et al., Semi-supervised contrastive learning for label-efficient medical
    image segmentation (MICCAI 2021).

    Args:
        temperature: of the similarities.
        form: ``out`` or ``in``, see
            :func:`~monai_semiseg.losses.supervised_contrast.contrast`.
        stride: see above; 1 takes all voxels.
        block: side of a block, voxels; None contrasts over the whole map.
        anchors: anchors per class (and block); None takes all.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        form: str = "out",
        stride: int = 1,
        block: int | None = None,
        anchors: int | None = None,
    ) -> None:
        super().__init__()
        least = min(stride, block or 1, anchors or 1)
        if form not in FORMS or temperature <= 0 or least < 1:
            raise ConfigError(
                f"form {form!r}, temperature {temperature}, stride {stride}, block {block}, "
                f"anchors {anchors}",
                expected="form 'out' or 'in', all numbers positive",
            )
        self.temperature = temperature
        self.form = form
        self.stride = stride
        self.block = block
        self.anchors = anchors

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            embeddings: of all scans in both views, ``(B, D, spatial...)``.
            labels: class indices of the same views, ``(B, 1, spatial...)``; every view has its own.

        Raises:
            ConfigError: If shapes differ, or a block or the stride is larger than the map.
        """
        if embeddings.shape[2:] != labels.shape[2:] or len(embeddings) != len(labels):
            raise ConfigError(
                f"embeddings {tuple(embeddings.shape)}, labels {tuple(labels.shape)}",
                expected="the same scans and size",
            )
        total = embeddings.new_zeros((), dtype=torch.float32) + 0.0 * embeddings.sum()
        count: Tensor | None = None
        for some, classes in self._parts(embeddings, labels):
            # Blocks are averaged over those that have an anchor; every block's own loss is a mean.
            part, anchors = contrast(
                some,
                classes,
                temperature=self.temperature,
                form=self.form,
                anchors=self._anchors(classes),
            )
            total = total + mean_over_processes(part, anchors)
            count = (anchors > 0).long() if count is None else count + (anchors > 0)
        return total / (torch.ones(()) if count is None else count).clamp_min(1)

    def _parts(self, embeddings: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield embeddings ``(N, D)`` and classes ``(N,)`` that are contrasted with each other."""
        origin = random_origin(embeddings.shape[2:], self.stride)
        if self.stride > 1 and not bool((labels[strided(origin, self.stride)] > 0).any()):
            origin = origin_through_foreground(labels, origin, self.stride)
        grid = strided(origin, self.stride)
        features = embeddings[grid]
        classes = labels[grid]
        partial = bool((labels < 0).any())
        for box in blocks(features.shape[2:], self.block):
            index = (slice(None), slice(None), *box)
            rows = features[index].movedim(1, -1).flatten(0, -2)
            groups = classes[index].flatten().long()
            yield (rows[groups >= 0], groups[groups >= 0]) if partial else (rows, groups)

    def _anchors(self, classes: Tensor) -> Tensor:
        """Return indices of foreground voxels, or of a sample of them from every class."""
        foreground = classes.nonzero()[:, 0]
        if self.anchors is None:
            return foreground
        drawn = []
        for one in torch.unique(classes[foreground]):
            members = (classes == one).nonzero()[:, 0]
            # On the CPU's generator, whose state is in checkpoints.
            order = torch.randperm(len(members))[: self.anchors].to(members.device)
            drawn.append(members[order])
        return torch.cat(drawn).sort().values if drawn else foreground


class SelfLocalContrast(nn.Module):
    """Voxel contrast without labels: one position in two views is positive, others negative.

    Every scan is contrasted with itself alone, whatever the number of processes. Both views must
    share their geometry. Chaitanya et al., Contrastive learning of global and local features for
    medical image segmentation with limited annotations (NeurIPS 2020).

    Args:
        temperature: of the similarities.
        stride: takes every s-th voxel along each axis, from an origin drawn in every step.
    """

    def __init__(self, temperature: float = 0.1, stride: int = 4) -> None:
        super().__init__()
        if temperature <= 0 or stride < 1:
            raise ConfigError(
                f"temperature {temperature}, stride {stride}", expected="both positive"
            )
        self.temperature = temperature
        self.stride = stride

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Compute the loss of two views ``(B, D, spatial...)``."""
        grid = strided(random_origin(first.shape[2:], self.stride), self.stride)
        losses = []
        for one, other in zip(first[grid], second[grid], strict=True):
            positions = torch.arange(one[0].numel(), device=one.device)
            rows = torch.cat([one.flatten(1).T, other.flatten(1).T])
            # Positions of other processes are in other scans.
            total, count = contrast(
                rows, positions.repeat(2), temperature=self.temperature, gathered=False
            )
            losses.append(total / count)
        return torch.stack(losses).mean()
