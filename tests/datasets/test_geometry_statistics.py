"""Comparison of field of view and voxel size, independent of the order of the axes."""

from __future__ import annotations

import numpy as np
import pytest

from monai_semiseg.datasets.geometry_statistics import size_differences, size_in_ras

KNOWN = {"extent": [[30.0, 40.0, 20.0], [40.0, 60.0, 45.0]]}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_extent_whatever_the_axes_are(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    extent = (36.0, 50.0, 30.0)
    spacing = (0.5, 1.0, 2.0)
    affine = np.eye(4)
    shape = [0, 0, 0]
    for array_axis, world in enumerate(order):
        affine[:3, array_axis] = 0
        affine[world, array_axis] = signs[array_axis] * spacing[world]
        shape[array_axis] = round(extent[world] / spacing[world])
    size = size_in_ras(shape, affine)
    assert np.allclose(size, (extent, spacing))
    assert size_differences(size, KNOWN) == {}
    voxels = {"spacing": [[0.5, 0.9, 1.9], [0.6, 1.1, 2.5]]}
    assert size_differences(size, voxels) == size_differences(size, {}) == {}
    finer = {"spacing": [[0.5, 0.9, 0.2], [0.6, 1.1, 0.3]]}
    told = "voxels of 0.5 x 1.0 x 2.0 mm, theirs 0.5-0.6 x 0.9-1.1 x 0.2-0.3 mm"
    assert size_differences(size, finer) == {"voxel_size": told}
