"""Slow enumeration of sites as the reference of the fast rules."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

SETTINGS = [
    # dims, in, out, kernel, stride, padding, dilation, groups
    (2, 3, 4, 3, 1, 1, 1, 1),
    (2, 4, 6, 3, 2, 0, 1, 2),
    (2, 2, 3, (3, 2), (2, 1), (1, 0), (1, 2), 1),
    (3, 2, 3, 3, 1, 1, 1, 1),
    (3, 2, 4, 2, 2, 0, 1, 1),
    (3, 4, 4, (1, 3, 2), (1, 2, 2), (0, 1, 0), 1, 2),
    (3, 1, 3, 3, 2, 2, 2, 1),
]


def make(
    setting: tuple, transposed: bool = False, output_padding: int = 0
) -> tuple[nn.Module, Tensor, Tensor]:
    """Create a layer in float64 with its input and output."""
    dims, given, out, kernel, stride, padding, dilation, groups = setting
    torch.manual_seed(7)
    kind = {
        (2, False): nn.Conv2d,
        (3, False): nn.Conv3d,
        (2, True): nn.ConvTranspose2d,
        (3, True): nn.ConvTranspose3d,
    }
    more = {"output_padding": output_padding} if transposed else {}
    layer = kind[dims, transposed](
        given, out, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, **more
    ).double()
    size = (5, 6) if dims == 2 else (5, 4, 6)
    images = torch.randn(2, given, *size, dtype=torch.float64) + 0.7
    with torch.no_grad():
        return layer, images, layer(images)


def patches(large: Tensor, sites: tuple[int, ...], layer: nn.Module) -> Tensor:
    """Return ``(N, C, taps)``: the voxel that each tap sees at every site; zeros outside."""
    rows = []
    taps = list(product(*map(range, layer.kernel_size)))
    for sample in large:
        for site in product(*map(range, sites)):
            row = torch.zeros(large.shape[1], len(taps), dtype=large.dtype)
            for t, tap in enumerate(taps):
                place = [
                    n * s + k * d - p
                    for n, s, k, d, p in zip(
                        site, layer.stride, tap, layer.dilation, layer.padding, strict=True
                    )
                ]
                if all(0 <= v < size for v, size in zip(place, large.shape[2:], strict=True)):
                    row[:, t] = sample[(slice(None), *place)]
            rows.append(row)
    return torch.stack(rows)


def rows(small: Tensor) -> Tensor:
    """Return ``(N, C)``: responses of every site, in the order of :func:`patches`."""
    return small.flatten(2).permute(0, 2, 1).flatten(0, 1)


@pytest.fixture(params=SETTINGS, ids=str)
def setting(request: pytest.FixtureRequest) -> tuple:
    return request.param
