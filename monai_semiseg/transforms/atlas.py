"""Multi-atlas segmentation: labels of a few scans, propagated to another scan by registration."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from monai.transforms import generate_spatial_bounding_box
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from monai_semiseg.errors import ConfigError
from monai_semiseg.transforms.labels import with_background
from monai_semiseg.transforms.registration import DemonsRegistration, as_itk, warp

Floats = NDArray[np.float32]


class Atlas(NamedTuple):
    """A labelled scan, prepared for registration.

    Attributes:
        voxels: intensities, without padding.
        spacing: voxel size along their axes, mm or pixels.
        label: class indices.
        image: ``voxels`` as a SimpleITK image.
        classes: one mask per foreground class as a SimpleITK image.
        ignored: mask of the voxels of class -1 as a SimpleITK image; None if there are none.
    """

    voxels: Floats
    spacing: list[float]
    label: Floats
    image: sitk.Image
    classes: list[sitk.Image]
    ignored: sitk.Image | None


class MultiAtlas:
    """Labelled scans (atlases) whose labels are propagated to another scan.

    With ``T_a`` the transform that maps atlas a, ``(x_a, y_a)``, onto the scan x, and ``G`` a
    Gaussian mean over neighbours, the probability of class c is the mean of the atlases' labels,
    weighted by the local similarity of each atlas::

        p_c = sum_a w_a 1[y_a = c](T_a) / sum_a w_a,     w_a = (G * (x_a(T_a) - x)^2 + e)^-2

    An atlas has no weight where its label is ``ignore`` (-1); where no atlas has a weight, p is
    NaN: unknown.

    Of more atlases than ``max_atlases``, those with the best affine registration are used.

    Local weights: Artaechevarria et al. (IEEE TMI 2009); the method's history: Iglesias and
    Sabuncu, Multi-atlas segmentation of biomedical images (Medical Image Analysis 2015).

    Args:
        items: labelled items, preprocessed as the scans.
        image_key: key of the image ``(channels, spatial...)``; its first channel is registered,
            without zero padding.
        label_key: key of the class indices, ``(1, spatial...)``.
        out_channels: number of classes, background included.
        max_atlases: number of atlases that are registered by demons.
        window: standard deviation of G, in voxels.
        tolerance: e above.
        registration: registration of two scans.

    Raises:
        ConfigError: If there is no atlas, or a setting is out of range.
    """

    def __init__(
        self,
        items: Sequence[Mapping[Hashable, Any]],
        image_key: Hashable,
        label_key: Hashable,
        out_channels: int,
        max_atlases: int,
        window: float,
        tolerance: float,
        registration: DemonsRegistration,
    ) -> None:
        if out_channels < 2 or max_atlases < 1 or window <= 0 or tolerance <= 0:
            raise ConfigError(
                f"out_channels {out_channels}, max_atlases {max_atlases}, window {window}, "
                f"tolerance {tolerance}",
                expected="2 or more classes, 1 or more atlases, window and tolerance above 0",
            )
        if len(items) == 0:
            raise ConfigError(
                "no labelled scan to propagate labels from", expected="at least one under training"
            )
        self.items = items
        self.image_key = image_key
        self.label_key = label_key
        self.out_channels = out_channels
        self.max_atlases = max_atlases
        self.window = window
        self.tolerance = tolerance
        self.registration = registration

    @cached_property
    def atlases(self) -> list[Atlas]:
        """Return the labelled scans, prepared for registration."""
        return [self._atlas(item) for item in self.items]

    def _atlas(self, item: Mapping[Hashable, Any]) -> Atlas:
        voxels, spacing, box = crop_padding(item[self.image_key])
        label = np.asarray(item[self.label_key][0][box], dtype=np.float32).round()
        label = label.reshape(voxels.shape)
        classes = [as_itk(label == value, spacing) for value in range(1, self.out_channels)]
        ignored = as_itk(label < 0, spacing) if (label < 0).any() else None
        return Atlas(voxels, spacing, label, as_itk(voxels, spacing), classes, ignored)

    @cached_property
    def identity(self) -> bytes:
        """Return a key of all that a result depends on, except for the scan."""
        settings = repr(
            (
                self.out_channels,
                self.max_atlases,
                self.window,
                self.tolerance,
                self.registration,
            )
        )
        key = settings.encode()
        for atlas in self.atlases:
            key += digest(atlas.voxels, atlas.spacing) + digest(atlas.label, atlas.spacing)
        return key

    def propagate(
        self, voxels: Floats, spacing: Sequence[float], left_out: Atlas | None = None
    ) -> Floats:
        """Return foreground probabilities ``(out_channels - 1, i, j[, k])`` of a scan.

        They are NaN where no labelled scan says anything.

        Args:
            voxels: intensities ``(i, j[, k])``.
            spacing: voxel size in mm, or in pixels.
            left_out: atlas that is not used.
        """
        fixed = as_itk(voxels, spacing)
        aligned = [
            (*self.registration.affine(fixed, atlas.image), atlas)
            for atlas in self.atlases
            if atlas is not left_out
        ]
        best = sorted(aligned, key=lambda found: found[1])[: self.max_atlases]
        weighted = np.zeros((self.out_channels - 1, *voxels.shape))
        weights, asked = np.zeros(voxels.shape), np.zeros(voxels.shape)
        for affine, _, atlas in best:
            transform = self.registration.deformable(fixed, atlas.image, affine)
            difference = (warp(atlas.image, fixed, transform) - voxels) ** 2
            weight = (gaussian_filter(difference, self.window) + self.tolerance) ** -2
            weighted += weight * np.stack([warp(mask, fixed, transform) for mask in atlas.classes])
            asked += weight
            if atlas.ignored is not None:
                weight = weight * (1 - warp(atlas.ignored, fixed, transform))
            weights += weight
        known = weights > 1e-3 * asked  # less is what interpolation leaves beside ignored voxels
        soft: Floats = np.where(known, weighted / np.where(known, weights, 1), np.nan)
        return soft.astype(np.float32)

    def leave_one_out(self) -> list[float]:
        """Return the mean Dice per foreground class, each atlas labelled by the others.

        At most ``max_atlases`` atlases are measured. The list is empty for a single atlas.
        """
        if len(self.atlases) < 2:
            return []
        scores = []
        for atlas in self.atlases[: self.max_atlases]:
            soft = torch.from_numpy(self.propagate(atlas.voxels, atlas.spacing, left_out=atlas))
            found = with_background(soft[None]).argmax(1, keepdim=True)
            label = torch.from_numpy(atlas.label)[None, None]
            unknown = (label < 0) | soft.isnan().any(0)
            pair = (
                one_hot(labels.masked_fill(unknown, 0), self.out_channels)
                for labels in (found, label)
            )
            scores.append(compute_dice(*pair, include_background=False, ignore_empty=False))
        return torch.cat(scores).mean(0).tolist()


def crop_padding(image: Any) -> tuple[Floats, list[float], tuple[slice, ...]]:
    """Return the first channel within the box that is not zero, its spacing, and that box.

    An axis of one voxel is removed, because nothing can be registered along it.
    """
    array = np.asarray(image[0], dtype=np.float32)
    steps = (
        np.asarray(image.pixdim).tolist() if isinstance(image, MetaTensor) else [1.0] * array.ndim
    )
    first, end = generate_spatial_bounding_box(array[None], select_fn=_is_filled)
    box = tuple(slice(int(low), int(high)) for low, high in zip(first, end, strict=True))
    inner = array[box]
    spacing = [float(step) for step, size in zip(steps, inner.shape, strict=True) if size > 1]
    return inner.squeeze(), spacing, box


def _is_filled(voxels: Any) -> Any:
    return voxels != 0


def digest(array: NDArray[Any], spacing: Sequence[float]) -> bytes:
    """Return the SHA-256 of voxels and their spacing."""
    return hashlib.sha256(
        repr((array.shape, list(spacing))).encode() + np.ascontiguousarray(array).tobytes()
    ).digest()
