"""Contrastive losses between scans and voxels: formula, defaults and refusals."""

from __future__ import annotations

import pytest
import torch

from monai_semiseg.errors import ConfigError
from monai_semiseg.losses.contrastive import GlobalContrast, LocalContrast, SelfLocalContrast
from tests.losses.contrastive_pairs import equal_with_gradient, maps, unit


def test_global_contrast_against_the_formula() -> None:
    torch.manual_seed(2)
    first, second = (torch.randn(4, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    z = unit(torch.cat([first, second]))
    terms = []
    for i in range(8):
        s = z[i] @ z.T / 0.5
        terms.append(-s[(i + 4) % 8] + torch.cat([s[:i], s[i + 1 :]]).logsumexp(0))
    equal_with_gradient(GlobalContrast(0.5)(first, second), torch.stack(terms).mean(), first)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: GlobalContrast()(torch.randn(1, 4), torch.randn(1, 4)), "at least 2 scans"),
        (lambda: LocalContrast(block=9)(*maps(2)), "blocks of 9"),
        (lambda: LocalContrast(form="inside"), "form 'inside'"),
        (lambda: LocalContrast(temperature=0), "temperature 0"),
        (
            lambda: LocalContrast()(torch.randn(2, 3, 4, 4), torch.zeros(2, 1, 4, 5)),
            "same scans and size",
        ),
        (lambda: SelfLocalContrast(stride=0), "stride 0"),
        (lambda: SelfLocalContrast(stride=5)(*maps(2)[:1] * 2), "stride of 5"),
        (lambda: LocalContrast(stride=5)(*maps(2)), "stride of 5"),
    ],
)
def test_bad_requests(call: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()  # type: ignore[operator]


def test_defaults() -> None:
    """Take all voxels, the form that averages outside of the logarithm, the papers' values."""
    f, y = maps(2)
    plain = LocalContrast(0.1, "out", stride=1, block=None, anchors=None)
    assert torch.equal(LocalContrast()(f, y), plain(f, y))
    one, two = (torch.randn(3, 5) for _ in range(2))
    assert torch.equal(GlobalContrast()(one, two), GlobalContrast(0.5)(one, two))
    losses = []
    for loss in (SelfLocalContrast(), SelfLocalContrast(0.1, stride=4)):
        torch.manual_seed(3)
        losses.append(loss(f, f + 1))
    assert torch.equal(*losses)
