"""Features of images to choose among them: intensities on a coarse grid, reduced to few numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.group_hints import unit_length
from monai_semiseg.images.grid import in_ras_order
from monai_semiseg.images.volume import RGB, Volume, spatial_dims_of

Floats: TypeAlias = NDArray[np.float32]
# Files of an image, or of its channels in their order, and what was read from them -> its features,
# one axis. Their count is the same for all images of a data set.
Encode: TypeAlias = Callable[[Sequence[str], Volume], Floats]

_SIDES = {2: 32, 3: 16}  # cells of the coarse grid along an axis, by dimensions of the image
_VOXELS_PER_CELL = 4  # along an axis that are looked at: their means say enough
_PERCENTILES = (1, 99)


class Encoder(Protocol):
    """Say what maps images to numbers, and where to find it.

    Each worker opens its own, so an encoder crosses processes: it holds settings and paths.
    """

    @property
    def device(self) -> str:
        """Return ``auto`` if the workers of a machine may share its GPUs out."""
        ...

    def open(self) -> Encode:
        """Load what has to be loaded, and return the function.

        Raises:
            ConfigError: If it cannot be loaded.
        """
        ...


def coarse_intensities(image: Volume) -> Floats:
    """Return robustly normalised intensities on a coarse grid, one axis, with unit length.

    The grid has 16 cells along each axis of a scan, 32 along the two of a 2-D image. It spans the
    whole image, in the order right, anterior, superior. A cell is the mean of its voxels. Every
    channel is clipped to its percentiles 1 and 99 and gets mean 0 and standard deviation 1; red,
    green and blue do so together, which keeps the colours. The dot product of two of them is their
    correlation. Images without contrast are all 0.
    """
    voxels = _every_few(in_ras_order(image.array, image.affine), _side(image))
    channels = voxels if image.channels else voxels[..., None]
    if image.channels == RGB:
        scaled = _standardised(channels)
    else:
        parts = [_standardised(channels[..., n]) for n in range(channels.shape[-1])]
        scaled = np.stack(parts, -1)
    return unit_length(cells(scaled, _side(image)).ravel())


def reduced(features: Floats, *, standardise: bool = False, most: int = 32) -> Floats:
    """Return the first principal components of features, ``(scans, components)``.

    Args:
        features: ``(scans, numbers)``.
        standardise: divide every number by its standard deviation first.
        most: components.
    """
    from sklearn.decomposition import PCA

    centred = features - features.mean(0)
    if standardise:
        spread = centred.std(0)
        centred = centred[:, spread > 0] / spread[spread > 0]
    count = min(most, centred.shape[0] - 1, centred.shape[1])
    if count < 1:
        return np.zeros((len(features), 1), np.float32)
    pca = PCA(count, svd_solver="randomized", random_state=0)
    return np.asarray(pca.fit_transform(centred), np.float32)


def reconstruction_errors(features: Floats, components: int = 8) -> Floats:
    """Return how badly few principal components restore each scan, ``(scans,)``.

    ``|x - P x|`` with P the projection on the components: what is unusual about a scan in itself,
    whatever the others are like.
    """
    centred = features - features.mean(0)
    kept = reduced(features, most=min(components, max(1, len(features) // 4)))
    squares = (centred**2).sum(1) - (kept**2).sum(1)
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float32)


def cells(voxels: Floats, side: int) -> Floats:
    """Return the means over a grid of cells, ``(side, side, side, channels)``.

    An axis of one voxel stays one. Along an axis of fewer voxels than cells, voxels are repeated.
    """
    from torch import from_numpy
    from torch.nn.functional import adaptive_avg_pool3d

    first, second, third = (1 if size == 1 else side for size in voxels.shape[:3])
    channels_first = np.ascontiguousarray(np.moveaxis(voxels, 3, 0))
    pooled = adaptive_avg_pool3d(from_numpy(channels_first)[None], (first, second, third))[0]
    return np.moveaxis(pooled.numpy(), 0, 3)


def _side(image: Volume) -> int:
    return _SIDES[spatial_dims_of(image.shape)]


def _every_few(voxels: NDArray[np.number], side: int) -> Floats:
    """Return a part of the voxels, evenly spaced, so that a large scan takes little memory."""
    steps = [max(1, size // (_VOXELS_PER_CELL * side)) for size in voxels.shape[:3]]
    return np.asarray(voxels[tuple(slice(None, None, step) for step in steps)], np.float32)


def _standardised(voxels: Floats) -> Floats:
    clipped = np.clip(voxels, *np.percentile(voxels, _PERCENTILES))
    spread = float(clipped.std())
    centred = clipped - clipped.mean()
    return np.asarray(centred / spread if spread > 0 else 0 * centred, np.float32)
