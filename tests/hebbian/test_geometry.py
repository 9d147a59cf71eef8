"""Sums over sites, against voxel-by-voxel enumeration."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.geometry import Geometry

from .conftest import make, patches, rows


def test_correlation_and_patch_sum(setting: tuple) -> None:
    layer, images, output = make(setting)
    geometry = Geometry.of(layer)
    sites = tuple(output.shape[2:])
    x, v = patches(images, sites, layer), rows(output)
    slow = torch.einsum("no,nck->ock", v, x)
    fast = geometry.correlate(images, output).flatten(2)
    per = images.shape[1] // layer.groups
    for o in range(output.shape[1]):
        group = o // (output.shape[1] // layer.groups)
        torch.testing.assert_close(
            fast[o], slow[o, group * per : (group + 1) * per], rtol=0, atol=1e-10
        )
    torch.testing.assert_close(
        geometry.patch_sum(images, sites).flatten(1), x.sum(0), rtol=0, atol=1e-10
    )


def test_tap_boxes(setting: tuple) -> None:
    layer, images, output = make(setting)
    sites = tuple(output.shape[2:])
    x = patches(torch.ones_like(images), sites, layer)[:, 0]
    values = patches(images, sites, layer)
    for t, (voxels, places) in enumerate(
        Geometry.of(layer).tap_boxes(tuple(images.shape[2:]), sites)
    ):
        inside = torch.zeros(len(images), *sites, dtype=torch.bool)
        inside[(slice(None), *places)] = True
        assert torch.equal(inside.flatten(), x[:, t].bool())
        seen = images[(slice(None), slice(None), *voxels)]
        assert torch.equal(rows(seen), values[x[:, t].bool()][:, :, t])


@pytest.mark.parametrize("values", [1, 40, 150, 10**9])
def test_slabs_add_up(setting: tuple, values: int) -> None:
    layer, images, output = make(setting)
    geometry = Geometry.of(layer)
    parts = list(geometry.slabs(images, output, values))
    whole = geometry.correlate(images, output)
    torch.testing.assert_close(
        sum(g.correlate(x, v) for g, x, v in parts), whole, rtol=0, atol=1e-10
    )
    sums = sum(g.patch_sum(x, tuple(v.shape[2:])) for g, x, v in parts)
    torch.testing.assert_close(
        sums, geometry.patch_sum(images, tuple(output.shape[2:])), rtol=0, atol=1e-10
    )
    assert len(parts) == (1 if values == 10**9 else len(parts)) and (
        values > 1 or len(parts) > len(images)
    )


def test_same_padding() -> None:
    assert Geometry.of(nn.Conv2d(1, 1, 3, padding="same", dilation=2)).padding == (2, 2)
    assert Geometry.of(nn.Conv3d(1, 1, 3, padding="valid")).padding == (0, 0, 0)


@pytest.mark.parametrize(
    "settings", [{"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}]
)
def test_other_padding_is_refused(settings: dict) -> None:
    layer = nn.Conv2d(1, 1, 2, **settings)
    with pytest.raises(ConfigError, match="exclude this layer"):
        Geometry.of(layer)
