"""Window of a scan: the values that are drawn black and white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.modality import looks_like_hounsfield

# Centres of the usual windows of CT, and their lower and upper ends, in Hounsfield units.
_CT_WINDOWS = {-600: (-1350, 150), 40: (-160, 240), 500: (-500, 1500)}  # lung, soft tissue, bone


def grey_window(image: NDArray[Any], mask: NDArray[Any]) -> tuple[float, float]:
    """Return the values that are drawn black and white.

    For CT the usual window nearest to the median in the mask: lung, soft tissue or bone. For other
    scans the percentiles 1 and 98: few bright voxels, such as fat, do not make all others dark.

    Args:
        image: voxels, shape ``(i, j, k)``.
        mask: label map of the same shape.
    """
    sparse = tuple(slice(None, None, -(-n // 48)) for n in image.shape)
    sample = image[sparse]
    if not looks_like_hounsfield(sample):
        low, high = np.percentile(sample, (1, 98))
        return float(low), float(high)
    inside = sample[mask[sparse] > 0]
    middle = float(np.median(inside)) if inside.size else 40.0
    nearest = min(_CT_WINDOWS, key=lambda centre: abs(centre - middle))
    return _CT_WINDOWS[nearest]
