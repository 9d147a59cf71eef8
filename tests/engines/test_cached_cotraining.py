"""Cached pseudo-labels: equal to the rounds' results, refreshed in the given interval only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet

from monai_semiseg.engines.cached_cotraining import CachedDiffusionCoTrainer, PseudoLabelCache
from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher, aggregated
from monai_semiseg.networks.diffusion_unet import TimeConditionedUNet
from monai_semiseg.samplers.coordinates import CoordinateDataset

CLASSES = 3
FEATURES = (4, 4, 8, 8, 16, 4)
CPU = torch.device("cpu")


def teacher(dims: int) -> DiffusionTeacher:
    torch.manual_seed(0)
    nets = [
        TimeConditionedUNet(dims, 1 + CLASSES, out, FEATURES, embedding=8) for out in (CLASSES, 1)
    ]
    return DiffusionTeacher(nets[0], nets[1], CLASSES, round_level=0.5)


def scans(dims: int, count: int = 3, size: int = 32) -> CoordinateDataset:
    generator = torch.Generator().manual_seed(1)
    return CoordinateDataset(
        [{"image": torch.randn(1, *[size] * dims, generator=generator)} for _ in range(count)]
    )


def batch_of(data: CoordinateDataset, numbers: list[int]) -> dict[str, Any]:
    items = [data[n] for n in numbers]
    weak = torch.stack([item["image"] for item in items])
    return {
        "weak": weak,
        "strong": 1.2 * weak,
        "index": torch.tensor(numbers),
        "image": weak[:1] + 1,
        "label": (weak[:1] > 0).float(),
        "coordinates": torch.stack([item["coordinates"] for item in items]),
    }


def trainer(data: CoordinateDataset, dims: int = 2, **settings: Any) -> CachedDiffusionCoTrainer:
    student = BasicUNet(dims, 1, CLASSES, FEATURES)
    made = teacher(dims)
    return CachedDiffusionCoTrainer(
        cache=PseudoLabelCache(data, SimpleInferer()),
        device=CPU,
        max_epochs=1,
        epoch_length=1,
        network=student,
        teacher=BasicUNet(dims, 1, CLASSES, FEATURES),
        diffusion_teacher=made,
        train_data_loader=[],
        aligned=False,
        optimizer=torch.optim.Adam([*student.parameters(), *made.parameters()]),
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        **settings,
    )


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("rounds", [0, 2])
def test_looked_up_is_what_the_rounds_say(dims: int, rounds: int) -> None:
    data = scans(dims)
    made = teacher(dims)
    cache = PseudoLabelCache(data, SimpleInferer())
    before = torch.get_rng_state()
    cache.refresh(made, rounds, 7, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    generator = torch.Generator().manual_seed(7)
    expected = []
    for number in range(3):
        expected.append(aggregated(made.rounds(data[number]["image"][None], rounds, generator)[0]))
    batch = batch_of(data, [2, 0])
    found, agreement = cache.look_up(batch["index"], batch["coordinates"])
    torch.testing.assert_close(
        found, torch.cat([expected[2][0], expected[0][0]]), atol=2e-3, rtol=0
    )
    torch.testing.assert_close(
        agreement, torch.cat([expected[2][1], expected[0][1]]), atol=2e-3, rtol=0
    )
    torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]), atol=2e-3, rtol=0)
    assert rounds == 0 or not agreement.bool().all()


def test_large_scans_go_through_in_windows() -> None:
    cache = PseudoLabelCache(
        scans(2, count=1, size=80), SlidingWindowInferer([32, 32], overlap=0.25)
    )
    cache.refresh(teacher(2), 1, 0, CPU)
    assert cache.entries[0].shape == (CLASSES, 80, 80) and cache.entries[0].dtype == torch.float16


def test_beyond_the_edge_is_background_that_all_agree_on() -> None:
    data = scans(2)
    cache = PseudoLabelCache(data, SimpleInferer())
    cache.refresh(teacher(2), 1, 0, CPU)
    found, agreement = cache.look_up(torch.tensor([1]), torch.zeros(1, 3, 8, 8))
    assert torch.equal(found.argmax(1), torch.zeros(1, 8, 8)) and bool((agreement == 1).all())
    assert float(found[:, 0].min()) == 1


def test_it_is_refreshed_every_so_often() -> None:
    data = scans(2)
    made: Any = trainer(data, rounds=2, rounds_every=4, refresh_every=3)
    asked: list[tuple[int, int]] = []
    real = made.cache.refresh
    rounds = made.diffusion_teacher.rounds
    made.cache.refresh = lambda *settings: (
        asked.append((made.state.iteration, settings[1])),
        real(*settings),
    )[1]
    counts: list[int] = []
    for iteration in range(1, 9):
        made.state.iteration = iteration
        made.losses(batch_of(data, [0, 1]))
        made.diffusion_teacher.rounds = lambda images, count, *more: (
            counts.append(count),
            rounds(images, count, *more),
        )[1]
        made.cache.refresh = lambda *settings: asked.append((made.state.iteration, settings[1]))
    assert asked == [(1, 2), (4, 2), (7, 2)]
    assert counts == [2, 2]  # iterations 4 and 8: the images that are rebuilt


def test_between_refreshes_the_teacher_does_not_change_them() -> None:
    data = scans(2)
    made = trainer(data, rounds=1, refresh_every=2)
    batch = batch_of(data, [0, 1])
    seen = []
    for iteration in (1, 2, 3):
        made.state.iteration = iteration
        target, _, _ = made.pseudo_labels(batch, rebuilds=False)
        assert not target.requires_grad
        seen.append(target)
        with torch.no_grad():
            made.diffusion_teacher.mask_network.final_conv.bias.add_(torch.tensor([0.0, 3.0, 0.0]))
    assert torch.equal(seen[0], seen[1]) and not torch.allclose(seen[1], seen[2], atol=0.01)


def test_a_checkpoint_keeps_them_and_refuses_those_of_other_scans() -> None:
    data = scans(2)
    cache, other = (PseudoLabelCache(data, SimpleInferer()) for _ in range(2))
    cache.refresh(teacher(2), 1, 0, CPU)
    other.load_state_dict(cache.state_dict())
    batch = batch_of(data, [1])
    assert torch.equal(
        other.look_up(batch["index"], batch["coordinates"])[0],
        cache.look_up(batch["index"], batch["coordinates"])[0],
    )
    with pytest.raises(ValueError, match="3 scans, now 2"):
        PseudoLabelCache(scans(2, count=2), SimpleInferer()).load_state_dict(cache.state_dict())


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="refresh_every 0"):
        trainer(scans(2), refresh_every=0)
