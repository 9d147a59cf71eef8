"""Hand out masks of neighbours; the proxy's Dice is MONAI's on the same points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.metrics import compute_dice

from monai_semiseg.datasets.dataset import ScanDataset, open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.proxy import compare_by_proxy, mask_dice
from monai_semiseg.labelling.readings import read_all
from tests.labelling.selection_builders import save


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ScanDataset:
    """Write scans whose box lies in one of two places; their grid is that of the masks."""
    folder = tmp_path_factory.mktemp("proxy")
    rng = np.random.default_rng(0)
    for n in range(14):
        image = rng.normal(size=(32, 32, 32))
        label = np.zeros(image.shape, np.uint8)
        start = 4 if n % 2 else 18
        label[start : start + 8, 8 : 20 + n % 3, 8:20] = 1
        label[start : start + 8, 8:20, 20:26] = 2
        flip = np.diag([-1.0, 1.0, 1.0, 1.0]) if n == 3 else np.eye(4)
        stored = (slice(None, None, -1),) if n == 3 else ()
        save(
            folder / "images" / f"s{n:02}.nii", (image + 5 * label)[stored].astype(np.float32), flip
        )
        save(folder / "labels" / f"s{n:02}.nii", label[stored], flip)
    return open_dataset(folder)


def test_dice_of_every_two_masks(dataset: ScanDataset) -> None:
    found = mask_dice(dataset, dataset.cases, progress=False)
    masks = []
    for case in dataset.cases:
        label = np.asarray(nib.load(dataset.root / str(case.label)).dataobj)
        label = label[::-1] if case.id == "s03" else label
        masks.append(torch.tensor(np.stack([label == value for value in range(3)]), dtype=float))
    for one, other in ((0, 2), (1, 3), (0, 1), (5, 5)):
        dice = compute_dice(masks[one][None], masks[other][None], include_background=False)
        assert found[one, other] == pytest.approx(float(dice.mean()), abs=1e-6)


def test_a_strategy_that_sees_both_places_beats_draws(dataset: ScanDataset) -> None:
    """Choose one scan of each place, a mask for all; a draw has both half of the time."""
    readings = read_all(dataset, dataset.cases, progress=False)
    dice = mask_dice(dataset, dataset.cases, progress=False)
    (one,) = compare_by_proxy(
        dataset, readings, dice, ["kmedoids"], [2], draws=30, divisions=2, test=4
    )
    assert one.dice > 0.9 and 0.5 < one.draws_mean < 0.85 and one.draws_std > 0.1
    assert 0.3 < one.beaten < 1


def test_faulty_scans_are_refused(
    dataset: ScanDataset, tmp_path: Path, write_dataset: Callable[..., Path]
) -> None:
    folder = write_dataset(tmp_path, scans=4, shape=(12, 12, 12))
    (folder / "images" / "1.nii.gz").write_bytes(b"cut")
    broken = open_dataset(folder)
    readings = read_all(broken, broken.cases, progress=False)
    with pytest.raises(ConfigError, match="1: "):
        compare_by_proxy(broken, readings, np.ones((4, 4)), ["kmedoids"], [1])
