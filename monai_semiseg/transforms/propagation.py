"""Labels of a few scans, carried over to a scan without one by registration: multi-atlas segmentation."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, generate_spatial_bounding_box
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from monai_semiseg.data.files import atomic_path
from monai_semiseg.errors import ConfigError
from monai_semiseg.transforms.registration import DemonsRegistration, as_itk, carried_over

if TYPE_CHECKING:
    import SimpleITK as sitk

Floats = NDArray[np.float32]
logger = logging.getLogger(__name__)


class PropagateLabelsd(MapTransform):
    """Give a scan soft labels from the labelled scans (atlases) that are registered on it.

    With ``T_a`` the map that lays atlas a, ``(x_a, y_a)``, on the scan x, and ``G`` a Gaussian mean over
    neighbours, the probability of class c is the mean of the atlases' labels, weighted by how well each fits there::

        p_c = sum_a w_a 1[y_a = c](T_a) / sum_a w_a,     w_a = (G * (x_a(T_a) - x)^2 + e)^-2

    Only the foreground classes are stored: what they leave of 1 is background, so padding with zeros is right. The
    first channel is what is registered, without the zeros that pad it. Of more atlases than ``most``, those are taken
    that fit best after the affine step.

    Local weights: Artaechevarria et al. (IEEE TMI 2009); the method's history: Iglesias and Sabuncu, Multi-atlas
    segmentation of biomedical images (Medical Image Analysis 2015).

    Args:
        keys: image ``(channels, spatial...)`` of intensities of unit variance; one key.
        atlases: labelled items with ``keys`` and ``label_key``, preprocessed as the image was.
        out_channels: number of classes, background included.
        name: key of the result, ``(out_channels - 1, spatial...)``, float32, 0 to 1.
        label_key: of the atlases' class indices, ``(1, spatial...)``.
        most: atlases that are registered by demons.
        folder: where results are kept, so that a resumed training need not register again; nowhere if None. A file is
            named by the content of scan, atlases and settings.
        window: standard deviation of G, in voxels.
        tolerance: e above.
        registration: how two scans are laid on each other; the defaults of
            :class:`~monai_semiseg.transforms.registration.DemonsRegistration` if None.
        least_dice: below it a warning says that labels are carried over badly even between labelled scans.

    Raises:
        ConfigError: If there is no atlas, or a setting is out of range.
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
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 1 or out_channels < 2 or most < 1 or window <= 0 or tolerance <= 0:
            raise ConfigError(
                f"{len(self.keys)} keys, out_channels {out_channels}, most {most}, window {window}, "
                f"tolerance {tolerance}",
                expected="1 key, 2 or more classes, 1 or more atlases, window and tolerance above 0",
            )
        if len(atlases) == 0:
            raise ConfigError("no labelled scan to carry labels over from", expected="at least one under training")
        self.atlases, self.out_channels, self.name, self.label_key = atlases, out_channels, name, label_key
        self.most, self.window, self.tolerance = most, window, tolerance
        self.folder = None if folder is None else Path(folder)
        self.registration, self.least_dice = registration or DemonsRegistration(), least_dice

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, and its soft labels under ``name``."""
        out = dict(data)
        image = out[self.keys[0]]
        voxels, spacing, box = _unpadded(image)
        soft = torch.zeros((self.out_channels - 1, *image.shape[1:]))
        if voxels.ndim > 1 and voxels.size:  # a scan without a grey value has no place to lay anything on
            soft[:, *box] = self._kept(voxels, spacing).reshape(soft[:, *box].shape)
        out[self.name] = MetaTensor(soft, meta=image.meta) if isinstance(image, MetaTensor) else soft
        return out

    def leave_one_out(self) -> list[float]:
        """Mean Dice of every foreground class, of ``most`` atlases each labelled by the others; NaN for one atlas."""
        scores = []
        for left_out in range(min(self.most, len(self._labelled))) if len(self._labelled) > 1 else ():
            voxels, truth, spacing = self._labelled[left_out]
            soft = self.propagate(voxels, spacing, [n for n in range(len(self._labelled)) if n != left_out])
            found = np.concatenate([1 - soft.sum(0, keepdims=True), soft]).argmax(0)
            scores.append([_dice(found == value, truth == value) for value in range(1, self.out_channels)])
        return [float(score) for score in np.mean(scores, 0)] if scores else [float("nan")] * (self.out_channels - 1)

    def propagate(self, voxels: Floats, spacing: Sequence[float], atlases: Sequence[int] | None = None) -> Floats:
        """Foreground probabilities ``(out_channels - 1, i, j[, k])`` of a scan; spacing in mm, all atlases if None."""
        fixed, method = as_itk(voxels, spacing), self.registration
        laid = [(*method.affine(fixed, as_itk(self._labelled[n][0], self._labelled[n][2])), n)
                for n in (range(len(self._labelled)) if atlases is None else atlases)]  # fmt: skip
        best = sorted(laid, key=lambda found: found[1])[: self.most]
        weighted, weights = np.zeros((self.out_channels - 1, *voxels.shape)), np.zeros(voxels.shape)
        for affine, _, number in best:
            image, label, step = self._labelled[number]
            moving = as_itk(image, step)
            transform = method.deformable(fixed, moving, affine)
            difference = (carried_over(moving, fixed, transform) - voxels) ** 2
            weight = (gaussian_filter(difference, self.window) + self.tolerance) ** -2
            weighted += weight * self._classes(label, step, fixed, transform)
            weights += weight
        soft: Floats = (weighted / weights).astype(np.float32)
        return soft

    def _classes(
        self, label: NDArray[Any], spacing: Sequence[float], fixed: sitk.Image, transform: sitk.Transform
    ) -> Floats:
        """One-hot foreground of an atlas on the scan's grid."""
        return np.stack([carried_over(as_itk(label == value, spacing), fixed, transform)
                         for value in range(1, self.out_channels)])  # fmt: skip

    @cached_property
    def _announced(self) -> None:
        """Say how well registration serves these scans, before hours are spent on it."""
        if len(self._labelled) < 2:
            return
        scores = self.leave_one_out()
        logger.info("labels carried over from labelled scans to one that is left out: Dice %s",
                    [round(score, 3) for score in scores])  # fmt: skip
        if np.mean(scores) < self.least_dice:
            logger.warning("W_PROPAGATION poor labels (mean Dice %.2f, expected %.2f): another method may serve "
                           "these scans better", np.mean(scores), self.least_dice)  # fmt: skip

    @cached_property
    def _labelled(self) -> list[tuple[Floats, NDArray[Any], list[float]]]:
        """Voxels, labels and spacing of every atlas."""
        items = ((*_unpadded(item[self.keys[0]]), item[self.label_key]) for item in self.atlases)
        return [(voxels, np.asarray(label[0][box]).round().reshape(voxels.shape), spacing)
                for voxels, spacing, box, label in items]  # fmt: skip

    @cached_property
    def _identity(self) -> bytes:
        """What a result depends on beside the scan."""
        settings = repr((self.out_channels, self.most, self.window, self.tolerance, self.registration))
        parts = (_digest(part, spacing) for image, label, spacing in self._labelled for part in (image, label))
        return settings.encode() + b"".join(parts)

    def _kept(self, voxels: Floats, spacing: Sequence[float]) -> torch.Tensor:
        """:meth:`propagate`, from the folder if it is there; in half precision there, and so always."""
        if self.folder is None:
            return self._made(voxels, spacing).float()
        name = hashlib.sha256(self._identity + _digest(voxels, spacing)).hexdigest()
        file = self.folder / f"{name}.pt"
        if not file.is_file():
            with atomic_path(file) as part:
                torch.save(self._made(voxels, spacing), part)
        kept: torch.Tensor = torch.load(file, weights_only=True)
        return kept.float()

    def _made(self, voxels: Floats, spacing: Sequence[float]) -> torch.Tensor:
        self._announced  # noqa: B018 - a property for its being computed once
        return torch.from_numpy(self.propagate(voxels, spacing)).half()


def _unpadded(image: Any) -> tuple[Floats, list[float], tuple[slice, ...]]:
    """First channel within the box that is not all zero, the spacing of its axes, and that box.

    An axis of one voxel is left out: there is nothing to register along it.
    """
    array = np.asarray(image[0], dtype=np.float32)
    steps = np.asarray(image.pixdim).tolist() if isinstance(image, MetaTensor) else [1.0] * array.ndim
    first, end = generate_spatial_bounding_box(array[None], select_fn=_is_filled)
    box = tuple(slice(int(low), int(high)) for low, high in zip(first, end, strict=True))
    inner = array[box]
    return inner.squeeze(), [float(step) for step, size in zip(steps, inner.shape, strict=True) if size > 1], box


def _is_filled(voxels: Any) -> Any:
    return voxels != 0


def _dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    total = int(found.sum() + truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0


def _digest(array: NDArray[Any], spacing: Sequence[float]) -> bytes:
    return hashlib.sha256(repr((array.shape, list(spacing))).encode() + np.ascontiguousarray(array).tobytes()).digest()
