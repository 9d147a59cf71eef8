"""Features are the same however a scan is stored, and those of an independent computation."""

from __future__ import annotations

import numpy as np
import pytest

from monai_semiseg.images.volume import RGB, Volume
from monai_semiseg.labelling.features import coarse_intensities, reconstruction_errors, reduced


def test_they_are_the_means_of_cells() -> None:
    voxels = np.random.default_rng(0).normal(size=(32, 48, 16))
    found = coarse_intensities(Volume(voxels, np.eye(4)))
    clipped = np.clip(voxels, *np.percentile(voxels, (1, 99)))
    means = clipped.reshape(16, 2, 16, 3, 16).mean((1, 3)).ravel()
    centred = means - means.mean()
    assert np.allclose(found, centred / np.linalg.norm(centred), atol=1e-6)


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0)], ids=str)
def test_the_stored_order_of_axes_and_the_scale_do_not_matter(axes: tuple[int, ...]) -> None:
    voxels = np.random.default_rng(1).normal(size=(20, 24, 18))
    stored = np.ascontiguousarray(np.flip(voxels.transpose(axes), 0))
    affine = np.eye(4)[[*axes, 3]].T.copy()
    affine[:3, 0] *= -1
    expected = coarse_intensities(Volume(voxels, np.eye(4)))
    found = coarse_intensities(Volume(1000 * stored - 300, affine))
    assert np.allclose(found, expected, atol=1e-5)


def test_bright_voxels_change_little() -> None:
    voxels = np.random.default_rng(2).normal(size=(32, 32, 32))
    bright = voxels.copy()
    bright[3, 4, 5:9] = 1e6
    one, other = (coarse_intensities(Volume(array, np.eye(4))) for array in (voxels, bright))
    assert one @ other > 0.99


def test_an_image_without_contrast_has_none() -> None:
    assert not coarse_intensities(Volume(np.full((8, 8, 8), 7), np.eye(4))).any()


def test_colours_stay_colours() -> None:
    """Tell a red picture from a blue one of the same shape; each channel alone would not."""
    rng = np.random.default_rng(3)
    shape = rng.integers(0, 100, (24, 24, 1))
    red, blue = (np.zeros((24, 24, 1, 3), np.uint8) for _ in range(2))
    red[..., 0] = 100 + shape
    blue[..., 2] = 100 + shape
    one, other = (
        coarse_intensities(Volume(array, np.eye(4), channels=RGB)) for array in (red, blue)
    )
    assert len(one) == 3 * 32**2 and one @ other < 0


def test_distances_survive_the_reduction() -> None:
    rows = np.random.default_rng(4).normal(size=(40, 6)).astype(np.float32)
    short = reduced(rows)
    assert short.shape == (40, 6)
    whole = np.linalg.norm(rows[:, None] - rows, axis=2)
    assert np.allclose(np.linalg.norm(short[:, None] - short, axis=2), whole, atol=1e-4)
    assert reduced(rows[:1]).shape == (1, 1)


def test_what_few_components_do_not_hold_is_difficult() -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 50))
    common[7] += 3 * rng.normal(size=50)
    errors = reconstruction_errors(common.astype(np.float32), components=2)
    assert errors.argmax() == 7
