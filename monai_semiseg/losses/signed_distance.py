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
    absent is 1 everywhere. Xue et al., Shape-aware organ segmentation by predicting signed distance
    maps (AAAI 2020).

    Args:
        label: class indices, ``(B, 1, spatial...)``.
        classes: number of classes with background.

    Returns:
        ``(B, classes - 1, spatial...)``.
    """
    masks = torch.cat([label == index for index in range(1, classes)], 1)
    maps = [torch.stack([_signed_distance(mask) for mask in sample]) for sample in masks]
    return torch.stack(maps).to(label.device, torch.float32)


def _signed_distance(mask: Tensor) -> Tensor:
    if not mask.any():
        return torch.ones(mask.shape, device=mask.device)
    outside = torch.as_tensor(distance_transform_edt((~mask)[None].float())[0])
    inside = torch.as_tensor(distance_transform_edt(mask[None].float())[0])
    # Voxels that touch the background have distance 1 there; they are the surface, with distance 0.
    inside = (inside - 1).clamp_min(0)
    return outside / outside.max().clamp_min(1) - inside / inside.max().clamp_min(1)


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
