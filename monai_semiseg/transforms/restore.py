"""Transform from a network's output to a label map on the scan's grid, slab by slab."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from monai_semiseg.errors import DimensionError
from monai_semiseg.transforms.grids import grid_in_space


class LabelOnScanGridd(MapTransform):
    """Turn logits into a label map on the grid of the file that the scan was read from.

    Probabilities are interpolated linearly at every voxel of the scan, and the most probable class
    is chosen. The result is that of ``Softmax``, ``Invertd`` and ``argmax``, for any preprocessing
    that updates the affine (orientation, spacing, padding, cropping). Only one slab of the scan has
    probabilities in memory at a time, so that 100 classes at 512^3 are possible.

    Voxels outside of the network's grid are background.

    Args:
        keys: logits ``(classes, i, j, k)``; ``(classes, a, b)`` for 2-D images of
            :class:`~monai_semiseg.transforms.grids.DropSliceAxisd`.
        orig_keys: the preprocessed image, a MetaTensor with ``original_affine`` and
            ``spatial_shape`` of the scan.
        uncertainty_key: key for the entropy of the interpolated probabilities divided by ``ln
            classes``, 0 to 1; or None.
        slab_mb: megabytes of probabilities at a time.
    """

    def __init__(
        self,
        keys: KeysCollection,
        orig_keys: str = "image",
        uncertainty_key: str | None = None,
        slab_mb: float = 256.0,
    ) -> None:
        super().__init__(keys)
        self.orig_keys = orig_keys
        self.uncertainty_key = uncertainty_key
        self.slab_mb = slab_mb

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits by labels ``(1, i, j, k)``, uint8 or int32, with the scan's affine."""
        out = dict(data)
        image = out[self.orig_keys]
        native = np.asarray(image.meta["original_affine"], dtype=np.float64)
        shape = [int(n) for n in image.meta["spatial_shape"]]
        for key in self.key_iterator(out):
            grid = grid_in_space(image)
            logits = torch.as_tensor(
                out[key].as_tensor() if isinstance(out[key], MetaTensor) else out[key]
            )
            if "plane" in image.meta:
                logits = logits[..., None]
            labels, entropy = restore(
                logits, grid, native, shape, self.uncertainty_key is not None, self.slab_mb
            )
            out[key] = MetaTensor(labels[None], affine=torch.as_tensor(native))
            if self.uncertainty_key is not None and entropy is not None:
                out[self.uncertainty_key] = MetaTensor(
                    entropy[None], affine=torch.as_tensor(native)
                )
        return out


def restore(
    logits: Tensor,
    grid: NDArray[np.float64],
    native: NDArray[np.float64],
    shape: Sequence[int],
    uncertainty: bool = False,
    slab_mb: float = 256.0,
) -> tuple[Tensor, Tensor | None]:
    """Restore labels on the scan's grid from logits, see :class:`LabelOnScanGridd`.

    Args:
        logits: ``(classes, x, y, z)``.
        grid: 4x4 affine of the logits, voxel to mm in RAS.
        native: 4x4 affine of the scan.
        shape: shape of the scan.
        uncertainty: whether to return the entropy as well.
        slab_mb: megabytes of probabilities at a time.

    Returns:
        Labels of the scan's shape on the CPU, and the entropy, float32, or None.

    Raises:
        DimensionError: If the logits or the scan are not 3-D.
    """
    if logits.ndim != 4 or len(shape) != 3:
        raise DimensionError(
            f"logits of shape {tuple(logits.shape)} for a scan of shape {tuple(shape)}",
            expected="three spatial axes",
        )
    to_grid = np.linalg.inv(grid) @ native
    if not uncertainty and _same_voxels(to_grid):
        return _reordered(_argmax(logits), to_grid, shape).cpu(), None
    return _restore_slabs(logits, to_grid, shape, uncertainty, slab_mb)


def _restore_slabs(
    logits: Tensor,
    to_grid: NDArray[np.float64],
    shape: Sequence[int],
    uncertainty: bool,
    slab_mb: float,
) -> tuple[Tensor, Tensor | None]:
    classes = logits.shape[0]
    labels = torch.empty(tuple(shape), dtype=_label_dtype(classes))
    entropy = torch.empty(tuple(shape), dtype=torch.float32) if uncertainty else None
    # Probabilities in float32; three coordinates in float64, and once more in float32.
    slices = max(1, int(slab_mb * 2**20 / (4 * (classes + 10) * shape[1] * shape[2])))
    for first in range(0, shape[0], slices):
        last = min(first + slices, shape[0])
        probabilities, inside = _interpolated(logits, to_grid, (first, last), shape)
        labels[first:last] = (_argmax(probabilities) * inside).cpu()
        if entropy is not None:
            entropy[first:last] = (normalised_entropy(probabilities) * inside).cpu()
    return labels, entropy


def normalised_entropy(probabilities: Tensor) -> Tensor:
    """Return ``-sum_c p_c ln p_c / ln C`` of every voxel, 0 to 1.

    Args:
        probabilities: ``(C, spatial...)``.
    """
    nats: Tensor = torch.special.entr(probabilities).sum(0)
    return nats / float(np.log(len(probabilities)))


def _label_dtype(classes: int) -> torch.dtype:
    return torch.uint8 if classes <= 256 else torch.int32


def _argmax(values: Tensor) -> Tensor:
    """Return ``argmax`` over the first axis, the first of equal values.

    ``torch.argmax`` takes ten times as long.
    """
    best = values[0].clone()
    labels = torch.zeros(values.shape[1:], dtype=_label_dtype(len(values)), device=values.device)
    for index in range(1, len(values)):
        labels.masked_fill_(values[index] > best, index)
        torch.maximum(best, values[index], out=best)
    return labels


def _same_voxels(to_grid: NDArray[np.float64]) -> bool:
    """Return True if the grids have the same voxels, in any order and direction of the axes."""
    whole = np.abs(to_grid - to_grid.round()).max() < 1e-6
    return bool(whole) and np.array_equal(
        np.sort(np.abs(to_grid[:3, :3].round()), axis=1), [[0, 0, 1]] * 3
    )


def _reordered(labels: Tensor, to_grid: NDArray[np.float64], shape: Sequence[int]) -> Tensor:
    """Return labels on the other grid of the same voxels; background outside of their grid."""
    axes = [int(axis) for axis in np.abs(to_grid[:3, :3]).argmax(1)]
    covered = torch.ones((), dtype=torch.bool, device=labels.device)
    for dim, axis in enumerate(axes):
        index = torch.arange(shape[axis]) * round(to_grid[dim, axis]) + round(to_grid[dim, 3])
        size = labels.shape[dim]
        inside = ((index >= 0) & (index < size)).to(labels.device)
        covered = covered & inside.reshape([-1 if n == axis else 1 for n in range(3)])
        labels = labels.index_select(dim, index.clamp(0, size - 1).to(labels.device))
    return labels.permute(*(axes.index(n) for n in range(3))) * covered


def _interpolated(
    logits: Tensor, to_grid: NDArray[np.float64], rows: tuple[int, int], shape: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Interpolate probabilities at some rows of the scan; return them and a mask of the grid."""
    spans = [rows, (0, shape[1]), (0, shape[2])]
    coordinates = []
    inside = torch.ones((), dtype=torch.bool, device=logits.device)
    for row, size in zip(
        torch.as_tensor(to_grid[:3], device=logits.device), logits.shape[1:], strict=True
    ):
        steps = [
            (r * torch.arange(*span, device=logits.device)).reshape(
                [-1 if n == k else 1 for k in range(3)]
            )
            for n, (r, span) in enumerate(zip(row[:3], spans, strict=True))
        ]
        # In float64: far from the origin, float32 misses voxels.
        axis = steps[0] + steps[1] + steps[2] + row[3]
        inside = inside & (axis > -1) & (axis < size)
        coordinates.append(axis.clamp(0, size - 1))
    box = [(int(axis.amin().floor()), int(axis.amax().ceil()) + 1) for axis in coordinates]
    block = torch.softmax(logits[(slice(None), *(slice(a, b) for a, b in box))].float(), 0)
    scaled = [
        2 * (axis - a) / max(b - a - 1, 1) - 1
        for axis, (a, b) in zip(coordinates, box, strict=True)
    ]
    where = torch.stack([axis.float() for axis in reversed(scaled)], -1)
    sampled = functional.grid_sample(
        block[None], where[None], padding_mode="border", align_corners=True
    )
    return sampled[0], inside
