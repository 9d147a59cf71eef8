"""Colours are turned about grey; every channel has its own transform."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityRanged

from monai_semiseg.transforms.intensity import EachChanneld, RandColourJitterd, colour_matrix


@pytest.mark.parametrize("angle", [-0.4, 0.0, 0.3, 2 * np.pi / 3])
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.4])
def test_grey_stays_and_saturation_is_scaled(angle: float, factor: float) -> None:
    matrix = colour_matrix(angle, factor)
    grey = torch.full((3,), 0.7, dtype=torch.float64)
    assert torch.allclose(matrix @ grey, grey)
    colour = torch.tensor([0.9, 0.2, 0.4], dtype=torch.float64)
    turned = matrix @ colour
    assert turned.mean() == pytest.approx(float(colour.mean()))
    assert float((turned - turned.mean()).norm()) == pytest.approx(
        factor * float((colour - colour.mean()).norm())
    )


def test_a_third_of_a_turn_moves_red_to_green() -> None:
    turned = colour_matrix(2 * np.pi / 3, 1.0) @ torch.tensor([1.0, 0, 0], dtype=torch.float64)
    assert torch.allclose(turned, torch.tensor([0, 1.0, 0], dtype=torch.float64), atol=1e-12)
    hue, _, _ = colorsys.rgb_to_hsv(*turned.clamp(0, 1).tolist())
    assert hue == pytest.approx(1 / 3)


def test_jitter_is_seeded_and_the_same_after_normalisation() -> None:
    image = torch.rand(3, 6, 5)
    jitter = RandColourJitterd("image", prob=1.0)
    raw = jitter.set_random_state(3)({"image": image})["image"]
    again = jitter.set_random_state(3)({"image": (image - 0.4) / 0.2})["image"]
    assert torch.allclose((raw - 0.4) / 0.2, again, atol=1e-5)
    assert not torch.allclose(raw, image)
    never = RandColourJitterd("image", prob=0.0).set_random_state(3)({"image": image})["image"]
    assert torch.equal(never, image)


def test_each_channel_has_its_own_transform_and_keeps_its_place() -> None:
    image = MetaTensor(torch.arange(16.0).reshape(2, 2, 4), affine=torch.eye(4) * 2)
    steps = [ScaleIntensityRanged("image", 0, 1, 0, high) for high in (10, 0.1)]
    out = EachChanneld("image", steps)({"image": image})["image"]
    assert torch.allclose(out[0], image[0] * 10) and torch.allclose(out[1], image[1] * 0.1)
    assert torch.equal(out.affine, image.affine)
