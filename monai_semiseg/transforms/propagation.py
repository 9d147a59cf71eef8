"""Labels of a few scans, carried over to a scan without one by registration: multi-atlas segmentation."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from monai.transforms import MapTransform, generate_spatial_bounding_box
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from monai_semiseg.errors import ConfigError, GeometryError
from monai_semiseg.storage.files import atomic_path
from monai_semiseg.transforms.labels import with_background
from monai_semiseg.transforms.registration import DemonsRegistration, as_itk, carried_over

Floats = NDArray[np.float32]
logger = logging.getLogger(__name__)


class Atlas(NamedTuple):
    """A labelled scan, as it is registered.

    Attributes:
        voxels: intensities, without padding.
        spacing: of their axes, mm.
        label: class indices.
        image: ``voxels`` for SimpleITK.
        classes: one mask per foreground class, for SimpleITK.
    """

    voxels: Floats
    spacing: list[float]
    label: Floats
    image: sitk.Image
    classes: list[sitk.Image]


class PropagateLabelsd(MapTransform):
    """Give a scan soft labels from the labelled scans (atlases) that are registered on it.

    With ``T_a`` the map that lays atlas a, ``(x_a, y_a)``, on the scan x, and ``G`` a Gaussian mean
    over neighbours, the probability of class c is the mean of the atlases' labels, weighted by how
    well each fits there::

        p_c = sum_a w_a 1[y_a = c](T_a) / sum_a w_a,     w_a = (G * (x_a(T_a) - x)^2 + e)^-2

    Only the foreground classes are stored: what they leave of 1 is background, so padding with
    zeros is right. The first channel is what is registered, without the zeros that pad it. Of more
    atlases than ``most``, those are taken that fit best after the affine step.

    Local weights: Artaechevarria et al. (IEEE TMI 2009); the method's history: Iglesias and
    Sabuncu, Multi-atlas segmentation of biomedical images (Medical Image Analysis 2015).

    Args:
        keys: image ``(channels, spatial...)`` of intensities of unit variance; one key.
        atlases: labelled items with ``keys`` and ``label_key``, preprocessed as the image was.
        out_channels: number of classes, background included.
        name: key of the result, ``(out_channels - 1, spatial...)``, float32, 0 to 1.
        label_key: of the atlases' class indices, ``(1, spatial...)``.
        most: atlases that are registered by demons.
        folder: where results are kept, so that a resumed training need not register again; nowhere
            if None. A file is named by the content of scan, atlases and settings.
        window: standard deviation of G, in voxels.
        tolerance: e above.
        registration: how two scans are laid on each other; the defaults of
            :class:`~monai_semiseg.transforms.registration.DemonsRegistration` if None.
        least_dice: below it a warning says that labels are carried over badly even between labelled
            scans.
        most_volume: a scan is refused that has more than so many times the volume of the largest
            atlas, in mm^3: most of it can be laid on nothing, such as a head on crops of its
            hippocampus, and it would take as much longer.

    Raises:
        ConfigError: If there is no atlas, or a setting is out of range.
        GeometryError: When called, if the scan is too large for the atlases.
    """

    def __init__(
        self,
        keys: KeysCollection,
        atlases: Sequence[Mapping[Hashable, Any]],
        out_channels: int,
        name: str = "propagated",
        label_key: str = "label",
        most: int = 5,
        folder: str | None = None,
        window: float = 2.0,
        tolerance: float = 0.02,
        registration: DemonsRegistration | None = None,
        least_dice: float = 0.6,
        most_volume: float = 8.0,
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 1 or out_channels < 2 or most < 1 or window <= 0 or tolerance <= 0:
            raise ConfigError(
                f"{len(self.keys)} keys, out_channels {out_channels}, most {most}, window {window}, "
                f"tolerance {tolerance}",
                expected="1 key, 2 or more classes, 1 or more atlases, window and tolerance above 0",
            )
        if len(atlases) == 0:
            raise ConfigError(
                "no labelled scan to carry labels over from", expected="at least one under training"
            )
        self.atlases, self.out_channels, self.name, self.label_key = (
            atlases,
            out_channels,
            name,
            label_key,
        )
        self.most, self.window, self.tolerance = most, window, tolerance
        self.folder = None if folder is None else Path(folder)
        self.registration, self.least_dice = registration or DemonsRegistration(), least_dice
        self.most_volume = most_volume

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, and its soft labels under ``name``."""
        out = dict(data)
        image = out[self.keys[0]]
        voxels, spacing, box = _unpadded(image)
        soft = torch.zeros((self.out_channels - 1, *image.shape[1:]))
        if (
            voxels.ndim > 1 and voxels.size
        ):  # a scan without a grey value has no place to lay anything on
            self._require_like_extent(voxels, spacing, image)
            soft[:, *box] = self._kept(voxels, spacing).reshape(soft[:, *box].shape)
        out[self.name] = (
            MetaTensor(soft, meta=image.meta) if isinstance(image, MetaTensor) else soft
        )
        return out

    def _require_like_extent(self, voxels: Floats, spacing: Sequence[float], image: Any) -> None:
        extents = [
            np.multiply(part.shape, step)
            for part, step in (
                (voxels, spacing),
                *((atlas.voxels, atlas.spacing) for atlas in self._labelled),
            )
        ]
        own, largest = extents[0], max(extents[1:], key=np.prod)
        if np.prod(own) > self.most_volume * np.prod(largest):
            here, there = (
                " x ".join(f"{length:.0f}" for length in extent) for extent in (own, largest)
            )
            raise GeometryError(
                f"a scan of {here} mm, labelled scans of at most {there} mm: labels cannot be carried over",
                expected=f"at most {self.most_volume:g} times their volume",
                remedy="crop the scan as the labelled ones are, or do without registration",
                path=str(image.meta.get("filename_or_obj", ""))
                if isinstance(image, MetaTensor)
                else None,
            )

    @property
    def identity(self) -> str:
        """Hash of what a result depends on beside the scan: the labelled scans and the settings."""
        return hashlib.sha256(self._identity).hexdigest()

    def leave_one_out(self) -> list[float]:
        """Mean Dice of every foreground class, of ``most`` atlases each labelled by the others; none for one atlas."""
        if len(self._labelled) < 2:
            return []
        scores = []
        for atlas in self._labelled[: self.most]:
            soft = torch.from_numpy(self.propagate(atlas.voxels, atlas.spacing, left_out=atlas))[
                None
            ]
            found = with_background(soft).argmax(1, keepdim=True)
            pair = (
                one_hot(labels, self.out_channels)
                for labels in (found, torch.from_numpy(atlas.label)[None, None])
            )
            scores.append(compute_dice(*pair, include_background=False, ignore_empty=False))
        return torch.cat(scores).mean(0).tolist()

    def propagate(
        self, voxels: Floats, spacing: Sequence[float], left_out: Atlas | None = None
    ) -> Floats:
        """Foreground probabilities ``(out_channels - 1, i, j[, k])`` of a scan, spacing in mm."""
        fixed, method = as_itk(voxels, spacing), self.registration
        laid = [
            (*method.affine(fixed, atlas.image), atlas)
            for atlas in self._labelled
            if atlas is not left_out
        ]
        best = sorted(laid, key=lambda found: found[1])[: self.most]
        weighted, weights = np.zeros((self.out_channels - 1, *voxels.shape)), np.zeros(voxels.shape)
        for affine, _, atlas in best:
            transform = method.deformable(fixed, atlas.image, affine)
            difference = (carried_over(atlas.image, fixed, transform) - voxels) ** 2
            weight = (gaussian_filter(difference, self.window) + self.tolerance) ** -2
            weighted += weight * np.stack(
                [carried_over(mask, fixed, transform) for mask in atlas.classes]
            )
            weights += weight
        soft: Floats = (weighted / weights).astype(np.float32)
        return soft

    @cached_property
    def _announced(self) -> None:
        """Say how well registration serves these scans, before hours are spent on it."""
        scores = self.leave_one_out()
        if not scores:
            return
        logger.info(
            "labels carried over from labelled scans to one that is left out: Dice %s",
            [round(score, 3) for score in scores],
        )
        if np.mean(scores) < self.least_dice:
            logger.warning(
                "W_PROPAGATION poor labels (mean Dice %.2f, expected %.2f): another method may serve "
                "these scans better",
                np.mean(scores),
                self.least_dice,
            )

    @cached_property
    def _labelled(self) -> list[Atlas]:
        found = []
        for item in self.atlases:
            voxels, spacing, box = _unpadded(item[self.keys[0]])
            label = (
                np.asarray(item[self.label_key][0][box], dtype=np.float32)
                .round()
                .reshape(voxels.shape)
            )
            classes = [as_itk(label == value, spacing) for value in range(1, self.out_channels)]
            found.append(Atlas(voxels, spacing, label, as_itk(voxels, spacing), classes))
        return found

    @cached_property
    def _identity(self) -> bytes:
        """What a result depends on beside the scan."""
        settings = repr(
            (self.out_channels, self.most, self.window, self.tolerance, self.registration)
        )
        parts = (
            _digest(part, atlas.spacing)
            for atlas in self._labelled
            for part in (atlas.voxels, atlas.label)
        )
        return settings.encode() + b"".join(parts)

    def _kept(self, voxels: Floats, spacing: Sequence[float]) -> torch.Tensor:
        """:meth:`propagate`, from the folder if it is there; in half precision there, and so always."""
        if self.folder is None:
            return self._made(voxels, spacing).float()
        name = hashlib.sha256(self._identity + _digest(voxels, spacing)).hexdigest()
        file = self.folder / f"{name}.pt"
        soft = _read(file)
        if soft is None:
            soft = self._made(voxels, spacing)
            with atomic_path(file) as part:
                torch.save(soft, part)
        return soft.float()

    def _made(self, voxels: Floats, spacing: Sequence[float]) -> torch.Tensor:
        self._announced  # noqa: B018 - a property for its being computed once
        return torch.from_numpy(self.propagate(voxels, spacing)).half()


def _unpadded(image: Any) -> tuple[Floats, list[float], tuple[slice, ...]]:
    """First channel within the box that is not all zero, the spacing of its axes, and that box.

    An axis of one voxel is left out: there is nothing to register along it.
    """
    array = np.asarray(image[0], dtype=np.float32)
    steps = (
        np.asarray(image.pixdim).tolist() if isinstance(image, MetaTensor) else [1.0] * array.ndim
    )
    first, end = generate_spatial_bounding_box(array[None], select_fn=_is_filled)
    box = tuple(slice(int(low), int(high)) for low, high in zip(first, end, strict=True))
    inner = array[box]
    return (
        inner.squeeze(),
        [float(step) for step, size in zip(steps, inner.shape, strict=True) if size > 1],
        box,
    )


def _is_filled(voxels: Any) -> Any:
    return voxels != 0


def _read(file: Path) -> torch.Tensor | None:
    """What was kept; None if nothing was, or if the file is damaged."""
    try:
        kept: torch.Tensor = torch.load(file, weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError):
        return None
    return kept


def _digest(array: NDArray[Any], spacing: Sequence[float]) -> bytes:
    return hashlib.sha256(
        repr((array.shape, list(spacing))).encode() + np.ascontiguousarray(array).tobytes()
    ).digest()
