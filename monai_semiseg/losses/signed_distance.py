"""Signed distance maps of structures, and their relation to probabilities."""

from __future__ import annotations

import torch
from monai.transforms.utils import distance_transform_edt
from torch import Tensor


def normalised_signed_distance(label: Tensor, classes: int) -> Tensor:
    """Compute signed distance maps of every foreground class, scaled to -1 to 1.

    -1 is the deepest voxel inside, 0 the surface, 1 the farthest voxel outside.

    Outside the structure the distance to it over the largest such distance in the scan, inside
    minus the distance to the background over the largest; 0 on the inner boundary. A class that is
    absent is 1 everywhere, one that fills the patch -1. Xue et al., Shape-aware organ segmentation
    by predicting signed distance maps (AAAI 2020).

    Where a label is ``ignore`` (-1), and where such a voxel is nearer than the surface, the
    distance is unknown: NaN. The others of that scan are scaled by the largest of them.

    Args:
        label: class indices, ``(B, 1, spatial...)``; -1 where they are unknown.
        classes: number of classes with background.

    Returns:
        ``(B, classes - 1, spatial...)``.
    """
    masks = torch.cat([label == index for index in range(1, classes)], 1)
    partial = (label < 0).flatten(1).any(1).tolist()
    maps = []
    for sample, unknown, some in zip(masks, label[:, 0] < 0, partial, strict=True):
        of_sample = [
            _known_signed_distance(mask, unknown) if some else _signed_distance(mask)
            for mask in sample
        ]
        maps.append(torch.stack(of_sample))
    return torch.stack(maps).to(label.device, torch.float32)


def _signed_distance(mask: Tensor) -> Tensor:
    if not mask.any() or mask.all():  # no surface: a distance transform of it has no meaning
        return (~mask).float() - mask.float()
    outside = torch.as_tensor(distance_transform_edt((~mask)[None].float())[0])
    inside = torch.as_tensor(distance_transform_edt(mask[None].float())[0])
    # Voxels that touch the background have distance 1 there; they are the surface, with distance 0.
    inside = (inside - 1).clamp_min(0)
    return outside / outside.max().clamp_min(1) - inside / inside.max().clamp_min(1)


def _known_signed_distance(mask: Tensor, unknown: Tensor) -> Tensor:
    rest = ~(mask | unknown)
    reach = _distance_to(unknown)  # within it, the label is known
    outside, inside = _distance_to(mask), _distance_to(rest)
    known_outside, known_inside = rest & (outside <= reach), mask & (inside <= reach)
    found = torch.full(mask.shape, torch.nan, device=mask.device)
    for known, distance, sign in (
        (known_outside, outside, 1),
        (known_inside, (inside - 1).clamp_min(0), -1),
    ):
        if known.any():
            found[known] = sign * distance[known] / distance[known].max().clamp_min(1)
    return found


def _distance_to(mask: Tensor) -> Tensor:
    """Return the distance to the nearest voxel of a mask; infinity if it is empty."""
    if not mask.any():
        return torch.full(mask.shape, torch.inf, device=mask.device)
    return torch.as_tensor(distance_transform_edt((~mask)[None].float())[0], dtype=torch.float32)


def distance_loss(distance: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared difference over the voxels whose target is known (not NaN).

    Args:
        distance: ``(B, classes - 1, spatial...)``, gradients flow here.
        target: from :func:`normalised_signed_distance`.
    """
    unknown = target.isnan()
    if not unknown.any():
        return ((distance - target) ** 2).mean()
    difference = torch.where(unknown, 0.0, distance - target)
    return (difference**2).sum() / (~unknown).sum().clamp_min(1)


def distance_to_probability(distance: Tensor, steepness: float = 1500.0) -> Tensor:
    """Convert a signed distance to a probability: ``1 / (1 + exp(k z))``.

    It is near 1 inside and near 0 outside.

    Luo et al., Semi-supervised medical image segmentation through dual-task consistency (AAAI
    2021), equation 2.

    Args:
        distance: signed, negative inside; any shape.
        steepness: k.
    """
    return torch.sigmoid(-steepness * distance)
