"""From a network's output on its own grid to a label map on the scan's grid, slab by slab."""

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


class LabelOnScanGridd(MapTransform):
    """Turn logits into a label map on the grid of the file that the scan was read from.

    Probabilities are interpolated linearly at every voxel of the scan, and the most probable class
    is kept: what ``Softmax``, ``Invertd`` and ``argmax`` give, for any preprocessing that keeps
    track of the affine (orientation, spacing, padding, cropping). Only a slab of the scan is held
    as probabilities at a time, so 100 classes at 512^3 need no float per class and voxel.

    Voxels that the network's grid does not reach are background.

    Args:
        keys: logits ``(classes, i, j, k)``.
        orig_keys: the preprocessed image, a MetaTensor with ``original_affine`` and
            ``spatial_shape`` of the scan.
        uncertainty_key: where the entropy of the interpolated probabilities over ``ln classes``
            goes, 0 to 1; or None.
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
        self.orig_keys, self.uncertainty_key, self.slab_mb = orig_keys, uncertainty_key, slab_mb

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits by labels ``(1, i, j, k)``, uint8 or int32, with the scan's affine."""
        out = dict(data)
        image = out[self.orig_keys]
        native = np.asarray(image.meta["original_affine"], dtype=np.float64)
        shape = [int(n) for n in image.meta["spatial_shape"]]
        for key in self.key_iterator(out):
            grid = np.asarray(image.affine, dtype=np.float64)
            logits = torch.as_tensor(
                out[key].as_tensor() if isinstance(out[key], MetaTensor) else out[key]
            )
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
    """The function behind :class:`LabelOnScanGridd`.

    Args:
        logits: ``(classes, x, y, z)``.
        grid: 4x4 affine of the logits, voxel to mm in RAS.
        native: that of the scan.
        shape: of the scan.
        uncertainty: whether to return the entropy as well.
        slab_mb: see above.

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
    classes = logits.shape[0]
    across = np.linalg.inv(grid) @ native
    dtype = torch.uint8 if classes <= 256 else torch.int32
    if not uncertainty and _same_voxels(across):
        return _reordered(_decided(logits, dtype), across, shape).cpu(), None
    labels = torch.empty(tuple(shape), dtype=dtype)
    entropy = torch.empty(tuple(shape), dtype=torch.float32) if uncertainty else None
    # Probabilities in float32; three coordinates in float64, and once more in float32.
    slices = max(1, int(slab_mb * 2**20 / (4 * (classes + 10) * shape[1] * shape[2])))
    for first in range(0, shape[0], slices):
        last = min(first + slices, shape[0])
        probabilities, reached = _interpolated(logits, across, (first, last), shape)
        labels[first:last] = (_decided(probabilities, dtype) * reached).cpu()
        if entropy is not None:
            doubt = torch.special.entr(probabilities).sum(0) / float(np.log(classes))
            entropy[first:last] = (doubt * reached).cpu()
    return labels, entropy


def _decided(values: Tensor, dtype: torch.dtype) -> Tensor:
    """``argmax`` over the first axis, the first one where several are equal; torch's own takes ten times as long."""
    best, labels = (
        values[0].clone(),
        torch.zeros(values.shape[1:], dtype=dtype, device=values.device),
    )
    for index in range(1, len(values)):
        labels.masked_fill_(values[index] > best, index)
        torch.maximum(best, values[index], out=best)
    return labels


def _same_voxels(across: NDArray[np.float64]) -> bool:
    """Whether the grids have the same voxels, in any order and direction of the axes."""
    whole = np.abs(across - across.round()).max() < 1e-6
    return bool(whole) and np.array_equal(
        np.sort(np.abs(across[:3, :3].round()), axis=1), [[0, 0, 1]] * 3
    )


def _reordered(labels: Tensor, across: NDArray[np.float64], shape: Sequence[int]) -> Tensor:
    """Labels on the other grid of the same voxels; background where there are none."""
    axes = [int(axis) for axis in np.abs(across[:3, :3]).argmax(1)]
    reached = torch.ones((), dtype=torch.bool, device=labels.device)
    for dim, axis in enumerate(axes):
        place = torch.arange(shape[axis]) * round(across[dim, axis]) + round(across[dim, 3])
        size = labels.shape[dim]
        inside = ((place >= 0) & (place < size)).to(labels.device)
        reached = reached & inside.reshape([-1 if n == axis else 1 for n in range(3)])
        labels = labels.index_select(dim, place.clamp(0, size - 1).to(labels.device))
    return labels.permute(*(axes.index(n) for n in range(3))) * reached


def _interpolated(
    logits: Tensor, across: NDArray[np.float64], rows: tuple[int, int], shape: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Probabilities at the scan's voxels of some rows, and which of them the network's grid reaches."""
    spans = [rows, (0, shape[1]), (0, shape[2])]
    places, reached = [], torch.ones((), dtype=torch.bool, device=logits.device)
    for row, size in zip(
        torch.as_tensor(across[:3], device=logits.device), logits.shape[1:], strict=True
    ):
        steps = [
            (r * torch.arange(*span, device=logits.device)).reshape(
                [-1 if n == k else 1 for k in range(3)]
            )
            for n, (r, span) in enumerate(zip(row[:3], spans, strict=True))
        ]
        place = (
            steps[0] + steps[1] + steps[2] + row[3]
        )  # float64: far from the origin, float32 misses voxels
        reached = reached & (place > -1) & (place < size)
        places.append(place.clamp(0, size - 1))
    box = [(int(place.amin().floor()), int(place.amax().ceil()) + 1) for place in places]
    block = torch.softmax(logits[(slice(None), *(slice(a, b) for a, b in box))].float(), 0)
    scaled = [
        2 * (place - a) / max(b - a - 1, 1) - 1 for place, (a, b) in zip(places, box, strict=True)
    ]
    where = torch.stack([axis.float() for axis in reversed(scaled)], -1)
    sampled = functional.grid_sample(
        block[None], where[None], padding_mode="border", align_corners=True
    )
    return sampled[0], reached
