"""Alignment of a diffusion teacher's unsupervised classes with the labels of labelled scans."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher


def confusion(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Count voxels of every class (rows) under every label (columns).

    The counts are ``(classes, classes)``, float64 on the CPU.

    Args:
        probabilities: ``(B, classes, spatial...)``.
        labels: class indices, ``(B, 1, spatial...)``; voxels of -1 are not counted.
    """
    classes = probabilities.shape[1]
    index = labels[:, 0].long()
    pairs = (probabilities.argmax(1) * classes + index)[index >= 0]
    counts = torch.bincount(pairs.cpu(), minlength=classes * classes)
    return counts.reshape(classes, classes).double()


def best_order(counts: Tensor) -> tuple[list[int], list[float]]:
    """Match classes to labels by the greatest mean Dice (Hungarian method, Kuhn, 1955).

    Args:
        counts: from :func:`confusion`.

    Returns:
        ``order``, label l is class ``order[l]``; and the Dice of every label.
    """
    dice = 2 * counts / (counts.sum(1, keepdim=True) + counts.sum(0, keepdim=True)).clamp_min(1)
    rows, columns = linear_sum_assignment(-dice.numpy())
    order = [int(row) for _, row in sorted(zip(columns, rows, strict=True))]
    return order, [float(dice[row, label]) for label, row in enumerate(order)]


@torch.no_grad()
def reorder_classes(teacher: DiffusionTeacher, order: list[int]) -> None:
    """Reorder the teacher's classes in its weights: class ``order[l]`` becomes l.

    Masks change their order wherever the networks read or return them.

    Raises:
        ConfigError: If a pathway does not begin or end with a convolution over the classes.
    """
    classes = teacher.classes
    mask_first, mask_last = _ends(teacher.mask_network)
    image_first, _ = _ends(teacher.image_network)
    channels = image_first.in_channels - classes
    same_inputs = mask_first.in_channels == image_first.in_channels
    if mask_last.out_channels != classes or not same_inputs or channels < 1:
        raise ConfigError(
            "the channels of the teacher's first and last layers do not match the classes",
            expected="networks that begin and end with a convolution",
        )
    mask_last.weight.copy_(mask_last.weight[order])
    if mask_last.bias is not None:
        mask_last.bias.copy_(mask_last.bias[order])
    mask_first.weight[:, :classes] = mask_first.weight[:, order]
    image_first.weight[:, channels:] = image_first.weight[:, [channels + c for c in order]]


def _ends(network: nn.Module) -> tuple[_ConvNd, _ConvNd]:
    layers = [module for module in network.modules() if isinstance(module, _ConvNd)]
    if not layers:
        raise ConfigError(
            f"{type(network).__name__} has no convolution", expected="a convolutional network"
        )
    return layers[0], layers[-1]
