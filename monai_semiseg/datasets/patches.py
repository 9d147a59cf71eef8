"""Choice of dimensions, spacing, patch and batch for a dataset."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_semiseg.datasets.fingerprint import Fingerprint
from monai_semiseg.errors import ConfigError

MULTIPLE = 8  # divisor of every patch axis: the network halves it several times
ANISOTROPIC = 3.0  # slices thicker than this many pixels are segmented one by one
LARGEST_PATCH = {2: 256 * 256, 3: 128 * 128 * 96}  # what a CPU trains in reasonable time
LARGEST_BATCH = {2: 8, 3: 2}
LARGEST_IMAGE = 512 * 512  # pixels; larger 2-D images are made smaller


@dataclass(frozen=True)
class Patches:
    """Describe what a network sees of an image.

    Attributes:
        spatial_dims: of the network.
        slices: whether it goes over the slices of 3-D scans.
        slice_axis: axis of the slices: 0 sagittal, 1 coronal, 2 axial.
        spacing: voxel size in mm in RAS, or in px; -1 keeps that of each scan.
        patch_size: voxels.
        batch_size: patches in a step.
        reason: one line that says why.
    """

    spatial_dims: int
    slices: bool
    slice_axis: int
    spacing: list[float]
    patch_size: list[int]
    batch_size: int
    reason: str


def choose_patches(
    fingerprint: Fingerprint, budget: int | None = None, asked: int | None = None
) -> Patches:
    """Choose what a network sees of a dataset's images.

    2-D images get a 2-D network. So do, slice by slice, 3-D scans whose slices are more than three
    times as thick as their pixels: a kernel of 3 x 3 x 3 would see other distances along them.

    Args:
        fingerprint: the dataset's measurements.
        budget: voxels of a batch that memory allows; None if any number is allowed.
        asked: dimensions that the user asks for, or None.

    Raises:
        ConfigError: If a 3-D network is asked for 2-D images.
    """
    if fingerprint.spatial_dims == 2:
        if asked == 3:
            raise ConfigError(
                "--spatial_dims 3 for 2-D images",
                expected="--spatial_dims 2, or 3-D scans",
                remedy="stack the slices of a patient into one volume first",
            )
        return _of_images(fingerprint, budget)
    sizes = np.median(fingerprint.spacings, axis=0)
    ratio = float(sizes.max() / sizes.min())
    if asked == 2 or (asked is None and ratio > ANISOTROPIC):
        why = "asked for" if asked == 2 else f"slices are {ratio:.1f} times as thick as pixels"
        axis = int(np.argmax(sizes)) if ratio > 1.5 else 2
        return _of_slices(fingerprint, budget, axis, f"network: 2-D over slices, {why}")
    why = "asked for" if asked == 3 else f"voxels are near cubes (ratio {ratio:.1f})"
    return _of_scans(fingerprint, budget, f"network: 3-D, {why}")


def _of_scans(fingerprint: Fingerprint, budget: int | None, reason: str) -> Patches:
    spacing = target_spacing(fingerprint.spacings)
    shape = np.median(fingerprint.shapes * fingerprint.spacings / spacing, axis=0)
    return Patches(3, False, 2, _listed(spacing), *_patch_and_batch(shape, budget), reason)


def _of_slices(fingerprint: Fingerprint, budget: int | None, axis: int, reason: str) -> Patches:
    spacing = np.round(np.median(fingerprint.spacings, axis=0), 4)
    shapes = fingerprint.shapes * fingerprint.spacings / spacing
    in_plane = np.delete(np.median(shapes, axis=0), axis)
    spacing[axis] = -1.0
    return Patches(2, True, axis, _listed(spacing), *_patch_and_batch(in_plane, budget), reason)


def _of_images(fingerprint: Fingerprint, budget: int | None) -> Patches:
    spacing = np.median(fingerprint.spacings, axis=0)
    shape = np.median(fingerprint.shapes * fingerprint.spacings / spacing, axis=0)
    smaller = max(1.0, math.sqrt(float(np.prod(shape)) / LARGEST_IMAGE))
    reason = "network: 2-D, as the images"
    if smaller > 1:
        reason += f"; they are made {smaller:.1f} times smaller"
    spacing = np.round(spacing * smaller, 4)
    return Patches(
        2, False, 2, _listed(spacing), *_patch_and_batch(shape / smaller, budget), reason
    )


def _listed(values: np.ndarray[Any, Any]) -> list[float]:
    return [float(value) for value in values]


def _patch_and_batch(shape: np.ndarray[Any, Any], budget: int | None) -> tuple[list[int], int]:
    dims = len(shape)
    budget = LARGEST_PATCH[dims] * LARGEST_BATCH[dims] if budget is None else budget
    patch = patch_size(shape, MULTIPLE, min(LARGEST_PATCH[dims], budget))
    return patch, max(1, min(LARGEST_BATCH[dims], budget // math.prod(patch)))


def target_spacing(spacings: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the median voxel size in mm per axis, or a finer one along thick slices.

    If the slice axis is three times coarser than the others, the median would lose detail that half
    of the scans have; there, the 10th percentile is used, as in nnU-Net.
    """
    target = np.median(spacings, axis=0)
    coarse = int(np.argmax(target))
    if target[coarse] > 3 * target.min():
        target[coarse] = max(float(np.percentile(spacings[:, coarse], 10)), target.min())
    return np.asarray(np.round(target, 4))


def patch_size(shape: np.ndarray[Any, Any], multiple: int, max_voxels: int) -> list[int]:
    """Round a shape up to ``multiple`` per axis; shorten the longest axis until it fits.

    No axis is shorter than 16 and one is at least 32: four downsamplings have to leave more than
    one voxel.
    """
    patch = [max(16, math.ceil(round(float(n), 3) / multiple) * multiple) for n in shape]
    longest = int(np.argmax(patch))
    patch[longest] = max(32, patch[longest])
    while math.prod(patch) > max_voxels and max(patch) > 32:
        patch[int(np.argmax(patch))] -= multiple
    return patch
