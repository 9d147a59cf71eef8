"""Fixtures of the trainers' tests: one thread, and batches of bright squares."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from monai.utils import set_determinism
from torch import Tensor


@pytest.fixture(autouse=True)
def repeatable(one_thread: None) -> Iterator[None]:
    """Use one thread; restore the generators afterwards."""
    yield
    set_determinism(None)


@pytest.fixture
def batch() -> Callable[..., dict[str, Tensor]]:
    """Return a function that creates bright squares on a dark ground.

    Two are labelled; the others have two views, their true labels, and propagated labels.
    """

    def make(dims: int = 2, seed: int = 0, count: int = 4, noise: float = 0.2) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        label = torch.zeros(count, 1, *[32] * dims)
        for n in range(count):
            low = torch.randint(2, 10, (dims,), generator=generator).tolist()
            label[(n, 0, *(slice(a, a + 16) for a in low))] = 1
            label[(n, 0, *(slice(a + 4, a + 12) for a in low))] = 2
        image = label - 0.8 + noise * torch.randn(label.shape, generator=generator)
        strong = 1.3 * image + noise * torch.randn(label.shape, generator=generator)
        beside = label[2:].roll(1, -1)  # what registration finds is near the truth
        return {
            "image": image[:2],
            "label": label[:2],
            "weak": image[2:],
            "strong": strong[2:],
            "truth": label[2:],
            "propagated": torch.cat([beside == 1, beside == 2], 1).float(),
        }

    return make
