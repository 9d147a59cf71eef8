"""Labelled scans that registration gives the shapes of scans without a label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import convert_to_dst_type

from monai_semiseg.errors import ConfigError
from monai_semiseg.transforms.atlas import Floats, crop_padding
from monai_semiseg.transforms.registration import DemonsRegistration, as_itk, warp


def pairs_to_warp(labelled: int, targets: int, count: int, seed: int = 0) -> list[dict[str, int]]:
    """Return which labelled scan is warped onto which target.

    Args:
        labelled: number of labelled scans.
        targets: number of scans without a label.
        count: targets of each labelled scan, all different; at most ``targets``.
        seed: of the choice. That of one labelled scan does not depend on the others.

    Returns:
        Items ``{"labelled": number, "target": number}``.

    Raises:
        ConfigError: If there is no target, or ``count`` is below 1.
    """
    if count < 1:
        raise ConfigError(f"{count} warps of each labelled scan", expected="warps_per_scan above 0")
    if targets < 1:
        raise ConfigError(
            "no scan without a label to warp labelled scans onto",
            expected="at least one entry under unlabeled in the datalist",
            remedy="add scans there, or leave this config out",
        )
    pairs = []
    for number in range(labelled):
        random = np.random.default_rng([seed, number])
        chosen = random.choice(targets, min(count, targets), replace=False)
        pairs += [{"labelled": number, "target": int(target)} for target in chosen]
    return pairs


class WarpOntoScan(Transform):
    """Warp a labelled scan onto a scan without a label, image and label together.

    With ``T`` the registration that maps the labelled scan ``(x, y)`` onto the target, the result
    is ``(x(T), y(T))`` on the target's grid. Image and label move alike. The field needs more
    smoothing than for carrying labels over: demons can give the image the target's borders where
    the label does not follow.

    Zhao et al., Data augmentation using learned transformations for one-shot medical image
    segmentation (CVPR 2019), with demons in place of a learnt registration, and without its change
    of intensities.

    Args:
        labelled: items with ``image_key`` and ``label_key``.
        targets: items with ``image_key``, preprocessed as the labelled ones.
        image_key: key of images ``(channels, spatial...)`` of intensities with unit variance. The
            first channel is registered, without zero padding.
        label_key: key of class indices, ``(1, spatial...)``.
        registration: registration of two scans.
    """

    def __init__(
        self,
        labelled: Sequence[Mapping[Hashable, Any]],
        targets: Sequence[Mapping[Hashable, Any]],
        image_key: Hashable = "image",
        label_key: Hashable = "label",
        registration: DemonsRegistration | None = None,
    ) -> None:
        self.labelled = labelled
        self.targets = targets
        self.image_key = image_key
        self.label_key = label_key
        self.registration = registration or DemonsRegistration()

    def __call__(self, data: Mapping[str, int]) -> dict[Hashable, Any]:
        """Return the warped item of a pair of :func:`pairs_to_warp`.

        A scan along which nothing can be registered, such as one of zeros, is returned as it is.
        """
        item = dict(self.labelled[data["labelled"]])
        image, label = item[self.image_key], item[self.label_key]
        target = self.targets[data["target"]][self.image_key]
        moving_voxels, spacing, box = crop_padding(image)
        fixed_voxels, fixed_spacing, fixed_box = crop_padding(target)
        if not all(voxels.ndim > 1 and voxels.size for voxels in (moving_voxels, fixed_voxels)):
            return item
        fixed = as_itk(fixed_voxels, fixed_spacing)
        moving = as_itk(moving_voxels, spacing)
        affine, _ = self.registration.affine(fixed, moving)
        transform = self.registration.deformable(fixed, moving, affine)
        channels = [as_itk(_inner(values, box), spacing) for values in image]
        warped = [warp(channel, fixed, transform) for channel in channels]
        classes = warp_classes(_inner(label[0], box), spacing, fixed, transform)
        item[self.image_key] = _like(_on_grid(warped, target, fixed_box), image, target)
        item[self.label_key] = _like(_on_grid([classes], target, fixed_box), label, target)
        return item


def warp_classes(
    classes: Floats, spacing: Sequence[float], fixed: sitk.Image, transform: sitk.Transform
) -> Floats:
    """Resample class indices on a grid: each voxel gets the class of the largest linear share.

    Args:
        classes: indices ``(i, j[, k])``, -1 for ignored voxels.
        spacing: their voxel size, in mm or pixels.
        fixed: image that has the grid.
        transform: from its points to those of ``classes``.
    """
    moving = sitk.Cast(as_itk(classes, spacing), sitk.sitkInt32)
    moved = sitk.Resample(moving, fixed, transform, sitk.sitkLabelLinear, 0)
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(moved).T, dtype=np.float32)


def _inner(values: Any, box: tuple[slice, ...]) -> Floats:
    return np.asarray(values, dtype=np.float32)[box].squeeze()


def _on_grid(channels: Sequence[Floats], target: Any, box: tuple[slice, ...]) -> Floats:
    """Put channels that lie in a box of the target on its whole grid, with zeros around."""
    grid = np.zeros((len(channels), *target.shape[1:]), dtype=np.float32)
    inner = grid[(slice(None), *box)]
    inner[...] = np.stack(channels).reshape(inner.shape)
    return grid


def _like(values: Floats, source: Any, target: Any) -> Any:
    """Return values as the source's kind of number, with the target's place in space."""
    placed = MetaTensor(values, meta=target.meta) if isinstance(target, MetaTensor) else values
    return convert_to_dst_type(values, placed, dtype=source.dtype)[0]
