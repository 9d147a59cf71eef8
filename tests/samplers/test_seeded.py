"""Training draws depend on seed and position, and on nothing else."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, RandAffined, RandFlipd, RandGaussianNoised, RandSmoothDeformd

from monai_semiseg.errors import ConfigError
from monai_semiseg.samplers.seeded import BudgetSampler, PairedSamples, SeededSamples

SCANS = 5


def scans() -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        {"image": torch.from_numpy(rng.normal(size=(1, 8, 8, 8)).astype(np.float32)), "id": n}
        for n in range(SCANS)
    ]


def samples(seed: int = 0, items: list[dict[str, Any]] | None = None) -> SeededSamples:
    random = [
        RandFlipd("image", 0.5, 0),
        RandAffined("image", prob=0.9, rotate_range=[0.3] * 3, padding_mode="zeros"),
        RandSmoothDeformd(
            "image", spatial_size=(8, 8, 8), rand_size=(3, 3, 3), pad=1, prob=0.5, def_range=0.2
        ),
        RandGaussianNoised("image", prob=0.5, std=0.2),
    ]
    return SeededSamples(Dataset(items or scans()), Compose(random), seed)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return bool(a["id"] == b["id"]) and torch.equal(
        torch.as_tensor(a["image"]), torch.as_tensor(b["image"])
    )


@pytest.fixture(scope="module")
def stream() -> list[dict[str, Any]]:
    """Return the samples of the first positions, in order."""
    one = samples()
    return [one[position] for position in range(2 * SCANS + 2)]


@pytest.mark.parametrize(
    "order", [list(reversed(range(12))), [7], [3, 3, 3], [11, 0, 5, 0, 11], [4, 9, 2, 7]], ids=str
)
def test_order_of_access_does_not_matter(stream: list[dict[str, Any]], order: list[int]) -> None:
    one = samples()
    assert all(same(one[position], stream[position]) for position in order)


def test_a_pickled_copy_draws_the_same(stream: list[dict[str, Any]]) -> None:
    used = samples()
    used[1]
    for other in (pickle.loads(pickle.dumps(used)), copy.deepcopy(used)):
        assert all(same(other[position], stream[position]) for position in (8, 0, 3))


def test_global_generators_neither_matter_nor_move(stream: list[dict[str, Any]]) -> None:
    np.random.seed(77)
    torch.manual_seed(77)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    one = samples()
    assert all(same(one[position], stream[position]) for position in range(4))
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_loader_workers_does_not_matter(
    stream: list[dict[str, Any]], workers: int
) -> None:
    torch.manual_seed(workers)  # what loaders seed their workers with
    loader = DataLoader(samples(), batch_size=2, sampler=BudgetSampler(6, 2), num_workers=workers)
    got: list[tuple[int, Any]] = []
    for batch in loader:
        got += zip(map(int, batch["id"]), batch["image"], strict=True)
    assert [n for n, _ in got] == [item["id"] for item in stream]
    assert all(
        torch.equal(image, item["image"]) for (_, image), item in zip(got, stream, strict=True)
    )


def test_seeds_and_positions_differ(stream: list[dict[str, Any]]) -> None:
    other = samples(seed=1)
    assert not all(same(other[position], stream[position]) for position in range(SCANS))
    # The same scan in two passes is augmented differently.
    twice = [[item for item in stream[: 2 * SCANS] if item["id"] == n] for n in range(SCANS)]
    assert not any(same(*pair) for pair in twice)


def test_every_pass_is_a_permutation_and_passes_differ() -> None:
    one = samples(seed=3)
    passes = [[one[turn * SCANS + place]["id"] for place in range(SCANS)] for turn in range(6)]
    assert all(sorted(order) == list(range(SCANS)) for order in passes)
    assert len({tuple(order) for order in passes}) > 1


def test_the_dataset_keeps_its_items() -> None:
    class InPlace:
        """An augmentation that changes what it is given."""

        def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
            item["image"] += 1
            item["new"] = 1
            return item

    items = scans()
    one = SeededSamples(Dataset(items), Compose(InPlace()))
    first = one[0]
    assert same(first, one[0])
    assert all(
        same(item, untouched) and "new" not in item
        for item, untouched in zip(items, scans(), strict=True)
    )


def test_no_scans_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no scans to train on"):
        SeededSamples(Dataset([]), Compose([]))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("start", [0, 1, 4, 7])
def test_sampler_from_an_iteration_on_continues_the_same_stream(start: int, batch: int) -> None:
    whole = BudgetSampler(7, batch)
    rest = BudgetSampler(7, batch)
    rest.iteration = start
    assert list(whole) == list(range(7 * batch))
    assert list(rest) == list(whole)[start * batch :]
    assert len(rest) == len(list(rest))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_partition_every_joint_batch(world: int) -> None:
    joint = list(BudgetSampler(5, 2 * world))
    ranks = [list(BudgetSampler(5, 2, rank, world)) for rank in range(world)]
    for iteration in range(5):
        parts: list[int] = []
        for positions in ranks:
            parts += positions[2 * iteration : 2 * iteration + 2]
        assert parts == joint[2 * world * iteration : 2 * world * (iteration + 1)]
    late = [BudgetSampler(5, 2, rank, world) for rank in range(world)]
    for sampler in late:
        sampler.iteration = 3
    assert [list(sampler) for sampler in late] == [positions[6:] for positions in ranks]


@pytest.mark.parametrize(("iterations", "batch_size"), [(0, 1), (1, 0), (-3, 2)])
def test_an_empty_budget_is_an_error(iterations: int, batch_size: int) -> None:
    with pytest.raises(ConfigError, match=f"iterations {iterations}, batch_size {batch_size}"):
        BudgetSampler(iterations, batch_size)


def test_pairs_hold_both_streams() -> None:
    """Position by position what the two streams give on their own."""
    free = SeededSamples(
        Dataset(scans()), Compose([RandGaussianNoised("image", prob=1.0, std=0.1)]), 9
    )
    pairs = PairedSamples(samples(), free, {"strong": "image", "number": "id"})
    for position in (0, 4, 11):
        item = pairs[position]
        assert same(item, samples()[position])
        assert torch.equal(
            torch.as_tensor(item["strong"]), torch.as_tensor(free[position]["image"])
        )
        assert item["number"] == free[position]["id"]


def test_views_are_the_same_scans_drawn_independently() -> None:
    items = scans()
    noise = Compose([RandGaussianNoised("image", prob=1.0, std=0.1)])
    first = SeededSamples(Dataset(items), noise, 4)
    second = SeededSamples(
        Dataset(items), Compose([RandGaussianNoised("image", prob=1.0, std=0.1)]), 4, view=1
    )
    both = PairedSamples(first, second, {"second": "image"})
    before = [
        item["image"].clone() if hasattr(item["image"], "clone") else item["image"].copy()
        for item in items
    ]
    for position in range(6):
        pair = both[position]
        assert not np.array_equal(pair["image"], pair["second"])
        # The same scan: only the noise differs.
        assert float(np.abs(np.asarray(pair["image"]) - np.asarray(pair["second"])).mean()) < 0.5
        assert np.array_equal(both[position]["second"], pair["second"])
    for item, old in zip(items, before, strict=True):
        assert np.array_equal(item["image"], old)
