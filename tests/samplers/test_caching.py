"""A cache that fits into memory: the same items in the same order, whatever is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, Lambdad

from monai_semiseg.samplers import caching
from monai_semiseg.samplers.caching import FittingCacheDataset
from monai_semiseg.samplers.seeded import SeededSamples

KB = 1024
Make = Callable[..., FittingCacheDataset]


@pytest.fixture
def reads() -> list[int]:
    """Return numbers of the images that were read, in this order."""
    return []


@pytest.fixture
def make(reads: list[int], monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function: free memory, sizes of the images in KB -> data set of them."""

    def data_set(free: float, sizes: list[int], **settings: Any) -> FittingCacheDataset:
        def read(number: int) -> torch.Tensor:
            reads.append(number)
            return MetaTensor(torch.full((1, sizes[number] * KB), number % 256, dtype=torch.uint8))

        monkeypatch.setattr(caching, "available_memory", lambda: int(free * KB))
        items = [{"image": number, "id": str(number)} for number in range(len(sizes))]
        return FittingCacheDataset(items, Compose([Lambdad("image", read)]), **settings)

    return data_set


def test_a_small_data_set_is_monais(make: Make, reads: list[int]) -> None:
    found = make(2 * 1000, [10] * 20, num_workers=1, progress=False)
    assert found.cache_num == 20 and sorted(reads) == list(range(20))
    plain = CacheDataset(found.data, found.transform, num_workers=1, progress=False)
    reads.clear()
    for ours, theirs in zip(found, plain, strict=True):
        assert ours.keys() == theirs.keys() and ours["id"] == theirs["id"]
        assert torch.equal(ours["image"], theirs["image"])
    assert reads == []


@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_fit_is_read_again(
    make: Make, reads: list[int], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Cache nine images of 10 KB in half of 200 KB; one of twice their size would still fit."""
    found = make(200, [10] * 1000, num_workers=workers, progress=False)
    assert found.cache_num == 9 and sorted(reads) == list(range(9)), "nothing is read in vain"
    assert "9 of 1000 images are kept in memory" in caplog.text
    reads.clear()
    assert [int(found[number]["image"][0, 0]) for number in range(3, 12)] == [*range(3, 12)]
    assert reads == [9, 10, 11]
    assert int(found[-1]["image"][0, 0]) == 999 % 256 and len(found) == 1000


def test_the_memory_holds_images_that_grow(make: Make) -> None:
    sizes = [1, 1, 2, 3, 5, 9, 17, 30, 50, 80]
    found = make(2 * 100, sizes, progress=False)
    assert sum(sizes[: found.cache_num]) <= 100 and found.cache_num >= 7


def test_one_image_is_kept_however_large(make: Make) -> None:
    assert make(1, [50, 50], num_workers=1, progress=False).cache_num == 1
    assert make(1, [], progress=False).cache_num == 0


def test_samples_do_not_depend_on_the_memory(make: Make) -> None:
    streams = [
        SeededSamples(make(free, [3] * 12, progress=False), Compose([]), seed=1)
        for free in (1000, 30)
    ]
    for position in range(30):
        first, second = (stream[position] for stream in streams)
        assert first["id"] == second["id"] and torch.equal(first["image"], second["image"])


def test_the_cache_can_be_asked_for_less(make: Make, reads: list[int]) -> None:
    assert make(1000, [1] * 10, cache_rate=0.5, progress=False).cache_num == 5
    reads.clear()
    assert make(1000, [1] * 10, cache_num=3, progress=False).cache_num == 3
    assert sorted(reads) == [0, 1, 2]


def test_other_data_of_the_same_set(make: Make) -> None:
    """Set them as MONAI Label does."""
    found = make(1000, [1] * 10, progress=False)
    found.set_data([{"image": 7, "id": "7"}])
    assert found.cache_num == len(found) == 1 and int(found[0]["image"][0, 0]) == 7
