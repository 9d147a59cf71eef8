"""Supervised contrastive loss, streamed, against loops over pairs in float64."""

from __future__ import annotations

import math

import pytest
import torch

from monai_semiseg.errors import ConfigError
from monai_semiseg.losses.supervised_contrast import contrast
from tests.losses.contrastive_pairs import equal_with_gradient, slow


@pytest.mark.parametrize("tile", [1, 4, 7, 64])
@pytest.mark.parametrize("form", ["out", "in"])
@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_contrast_against_pairs(tile: int, form: str, temperature: float) -> None:
    torch.manual_seed(0)
    rows = torch.randn(13, 5, dtype=torch.float64, requires_grad=True)
    groups = [0, 1, 1, 2, 0, 1, 2, 3, 0, 0, 2, 1, 0]  # 3 is alone: skipped
    anchors = [i for i, g in enumerate(groups) if g > 0]
    total, count = contrast(
        rows,
        torch.tensor(groups),
        temperature=temperature,
        form=form,
        anchors=torch.tensor(anchors),
        tile=tile,
    )
    losses = slow(rows, groups, anchors, temperature, form)
    assert int(count) == len(losses) == len(anchors) - 1
    equal_with_gradient(total, torch.stack(losses).sum(), rows)


def test_temperature_one_is_a_plain_softmax() -> None:
    rows = torch.eye(3, dtype=torch.float64)
    total, count = contrast(rows, torch.tensor([0, 0, 0]), temperature=1.0)
    assert float(total / count) == pytest.approx(math.log(2))


@pytest.mark.parametrize("temperature", [-1, 0])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match=f"temperature {temperature}"):
        contrast(torch.randn(3, 2), torch.tensor([0, 0, 1]), temperature=temperature)
