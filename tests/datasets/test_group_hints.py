"""Hints of undeclared groups: how alike two images have to be, against an exact correlation."""

from __future__ import annotations

import numpy as np
import pytest

from monai_semiseg.datasets.check_report import CaseFacts
from monai_semiseg.datasets.dataset import DatasetCase
from monai_semiseg.datasets.group_hints import thumbnail, undeclared_groups
from monai_semiseg.images.volume import Volume


def correlated(share: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two cubes that correlate as asked: ``b = r a + sqrt(1 - r^2) n``, n normal to a."""
    noise = np.random.default_rng(0).normal(size=(16**3, 2))
    orthogonal, _ = np.linalg.qr(noise - noise.mean(axis=0))
    first = orthogonal[:, 0]
    second = share * first + np.sqrt(1 - share**2) * orthogonal[:, 1]
    factor = size // 16
    cubes = [one.reshape(16, 16, 16).repeat(factor, 0) for one in (first, second)]
    return tuple(cube.repeat(factor, 1).repeat(factor, 2) for cube in cubes)


def facts_of(array: np.ndarray, name: str) -> CaseFacts:
    volume = Volume((100 + 1e4 * array).astype(np.float32), np.eye(4), {})
    case = DatasetCase(name, f"{name}.nii.gz", None)
    return CaseFacts(case, pixel_hash=name, thumbnail=thumbnail(volume))


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize(("share", "said"), [(0.9955, True), (0.9945, False)])
def test_images_are_nearly_the_same_from_a_correlation_of_0995(
    share: float, said: bool, size: int
) -> None:
    first, second = correlated(share, size)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(share, abs=1e-6)
    found = undeclared_groups([facts_of(first, "apple"), facts_of(second, "pear")])
    assert [finding.code for finding in found] == ["W_GROUPS"] * said
    if said:
        assert "1 pairs of images are nearly the same, such as apple and pear" in found[0].message
