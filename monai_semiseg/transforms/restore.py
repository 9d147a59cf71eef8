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

    Probabilities are interpolated linearly at every voxel of the scan, and the most probable class is kept: what
    ``Softmax``, ``Invertd`` and ``argmax`` give, for any preprocessing that keeps track of the affine (orientation,
    spacing, padding, cropping). Only a slab of the scan is held as probabilities at a time, so 100 classes at 512^3
    need no float per class and voxel.

    Voxels that the network's grid does not reach are background.

    Args:
        keys: logits ``(classes, i, j, k)``.
        orig_keys: the preprocessed image, a MetaTensor with ``original_affine`` and ``spatial_shape`` of the scan.
        uncertainty_key: where the entropy of the interpolated probabilities over ``ln classes`` goes, 0 to 1; or None.
        slab_mb: megabytes of probabilities at a time.
    """

    def __init__(
        self, keys: KeysCollection, orig_keys: str = "image", uncertainty_key: str | None = None, slab_mb: float = 256.0
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
            logits = torch.as_tensor(out[key].as_tensor() if isinstance(out[key], MetaTensor) else out[key])
            labels, entropy = restore(logits, grid, native, shape, self.uncertainty_key is not None, self.slab_mb)
            out[key] = MetaTensor(labels[None], affine=torch.as_tensor(native))
            if self.uncertainty_key is not None and entropy is not None:
                out[self.uncertainty_key] = MetaTensor(entropy[None], affine=torch.as_tensor(native))
        return out


def restore(
    logits: Tensor, grid: NDArray[np.float64], native: NDArray[np.float64], shape: Sequence[int],
    uncertainty: bool = False, slab_mb: float = 256.0,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
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
        raise DimensionError(f"logits of shape {tuple(logits.shape)} for a scan of shape {tuple(shape)}",
                             expected="three spatial axes")  # fmt: skip
    classes = logits.shape[0]
    across = np.linalg.inv(grid) @ native
    labels = torch.empty(tuple(shape), dtype=torch.uint8 if classes <= 256 else torch.int32)
    entropy = torch.empty(tuple(shape), dtype=torch.float32) if uncertainty else None
    # Probabilities in float32, twice while they are interpolated; for an oblique grid coordinates as well.
    slices = max(1, int(slab_mb * 2**20 / (4 * (2 * classes + 10) * shape[1] * shape[2])))
    if entropy is None and _same_voxels(across):
        decided = _decided(logits, labels.dtype)[None]  # the same voxels in another order
        chosen, reached = _along_axes(decided, across, [(0, n) for n in shape], soft=False)
        return (chosen[0] * reached).cpu(), None
    sample = _along_axes if _axes(across) is not None else _anywhere
    for first in range(0, shape[0], slices):
        last = min(first + slices, shape[0])
        probabilities, reached = sample(logits, across, [(first, last), (0, shape[1]), (0, shape[2])])
        labels[first:last] = (_decided(probabilities, labels.dtype) * reached).cpu()
        if entropy is not None:
            doubt = -(probabilities * torch.log(probabilities.clamp_min(1e-12))).sum(0) / float(np.log(classes))
            entropy[first:last] = (doubt * reached).cpu()
    return labels, entropy


def _decided(values: Tensor, dtype: torch.dtype) -> Tensor:
    """``argmax`` over the first axis, the first one where several are equal; torch's own takes ten times as long."""
    best, labels = values[0].clone(), torch.zeros(values.shape[1:], dtype=dtype, device=values.device)
    for index in range(1, len(values)):
        labels.masked_fill_(values[index] > best, index)
        torch.maximum(best, values[index], out=best)
    return labels


def _axes(across: NDArray[np.float64]) -> list[int] | None:
    """Which of the scan's axes each of the network's axes runs along; None if one runs across several."""
    size = np.abs(across[:3, :3])
    axes = [int(axis) for axis in size.argmax(1)]
    rest = size.copy()
    rest[range(3), axes] = 0
    return axes if sorted(axes) == [0, 1, 2] and rest.max() < 1e-9 * size.max() else None


def _same_voxels(across: NDArray[np.float64]) -> bool:
    """Whether every voxel of one grid lies on a voxel of the other, or outside of it."""
    return _axes(across) is not None and bool(
        np.abs(across - across.round()).max() < 1e-6 and np.abs(across[:3, :3]).max() < 1.5
    )


def _along_axes(
    logits: Tensor, across: NDArray[np.float64], ranges: Sequence[tuple[int, int]], soft: bool = True
) -> tuple[Tensor, Tensor]:
    """Probabilities at some of the scan's voxels, one axis after the other, and which the network's grid reaches.

    Without ``soft``, the values as they are at places that are voxels.
    """
    axes = _axes(across) or [0, 1, 2]
    lines = [across[row, axis] * torch.arange(*ranges[axis], dtype=torch.float64) + across[row, 3]
             for row, axis in enumerate(axes)]  # fmt: skip
    reached = torch.ones((), dtype=torch.bool, device=logits.device)
    places, box = [], []
    for line, axis, size in zip(lines, axes, logits.shape[1:], strict=True):
        inside = ((line > -1) & (line < size)).to(logits.device)
        reached = reached & inside.reshape([-1 if n == axis else 1 for n in range(3)])
        place = line.clamp(0, size - 1)
        place = torch.where((place - place.round()).abs() < 1e-6, place.round(), place)  # what rounding left
        low, high = int(place.amin().floor()), int(place.amax().ceil()) + 1
        places.append(place - low)
        box.append(slice(low, high))
    block = logits[(slice(None), *box)]
    block = torch.softmax(block.float(), 0) if soft else block
    for dim, place in enumerate(places, 1):
        below = place.floor().long()
        share = (place - below).to(block.device, torch.float32).reshape([-1 if n == dim else 1 for n in range(4)])
        lower = block.index_select(dim, below.to(block.device))
        if soft and bool(share.any()):
            upper = block.index_select(dim, (below + 1).clamp_max(block.shape[dim] - 1).to(block.device))
            lower = torch.lerp(lower, upper, share)
        block = lower
    return block.permute(0, *(1 + axes.index(n) for n in range(3))), reached


def _anywhere(logits: Tensor, across: NDArray[np.float64], ranges: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """The same for a grid that is turned against the scan's."""
    matrix = torch.as_tensor(across).to(logits.device)
    places, reached = [], torch.ones((), dtype=torch.bool, device=logits.device)
    for row, size in zip(matrix[:3], logits.shape[1:], strict=True):
        steps = [(r * torch.arange(*span, device=logits.device)).reshape([-1 if n == k else 1 for k in range(3)])
                 for n, (r, span) in enumerate(zip(row[:3], ranges, strict=True))]  # fmt: skip
        place = steps[0] + steps[1] + steps[2] + row[3]  # float64: far from the origin, float32 misses voxels
        reached = reached & (place > -1) & (place < size)
        places.append(place.clamp(0, size - 1))
    box = [(int(place.amin().floor()), int(place.amax().ceil()) + 1) for place in places]
    block = torch.softmax(logits[(slice(None), *(slice(a, b) for a, b in box))].float(), 0)
    scaled = [2 * (place - a) / max(b - a - 1, 1) - 1 for place, (a, b) in zip(places, box, strict=True)]
    where = torch.stack([axis.float() for axis in reversed(scaled)], -1)
    sampled = functional.grid_sample(block[None], where[None], padding_mode="border", align_corners=True)
    return sampled[0], reached
