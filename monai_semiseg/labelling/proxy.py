"""Proxy for a training: every test scan gets the mask of the labelled scan that it is most like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_names import label_paths
from monai_semiseg.datasets.label_values import background_of, ignore_value
from monai_semiseg.datasets.split import test_and_rest
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.grid import in_ras_order, onto_grid
from monai_semiseg.images.volume import spatial_dims_of
from monai_semiseg.labelling.clusters import Array
from monai_semiseg.labelling.readings import Reading
from monai_semiseg.labelling.study_selections import chosen_ids
from monai_semiseg.labelling.survey import take_stock
from monai_semiseg.study.selections import draw_name

_SIDES = {2: 64, 3: 32}  # points of a mask's grid along an axis, by dimensions


@dataclass(frozen=True)
class ProxyScore:
    """A strategy at one budget, by the proxy.

    Attributes:
        labelled: budget.
        strategy: its name.
        dice: mean over the divisions.
        draws_mean: mean over divisions of the mean of the random draws.
        draws_std: mean over divisions of their standard deviation.
        beaten: share of the draws of a division that the strategy beats, averaged over divisions.
    """

    labelled: int
    strategy: str
    dice: float
    draws_mean: float
    draws_std: float
    beaten: float


def compare_by_proxy(
    dataset: ScanDataset,
    readings: Sequence[Reading],
    dice: Array,
    strategies: Sequence[str],
    budgets: Sequence[int],
    *,
    draws: int = 50,
    divisions: int = 10,
    test: float | str = 0.2,
) -> list[ProxyScore]:
    """Compare strategies with random draws, without any training.

    A test scan gets the mask of the labelled scan whose coarse intensities correlate most with its
    own. The proxy says how well the labelled scans stand for the others, and nothing about what a
    network makes of them.

    Args:
        dataset: the data set.
        readings: of all its cases, which have a label.
        dice: of the masks of every two of them, from :func:`mask_dice`.
        strategies: names.
        budgets: numbers of labelled scans.
        draws: random draws of every budget and division.
        divisions: divisions into test scans and scans to choose from, by ``split --test_seed``.
        test: test scans, as ``split`` takes it.
    """
    index = {one.case.id: n for n, one in enumerate(readings)}
    intensities = np.stack([_intensities(one) for one in readings])
    names = [*map(draw_name, range(draws)), *strategies]
    found: dict[tuple[int, str], list[float]] = {}
    for division in tqdm(range(divisions), "Divisions", disable=None):
        test_ids, rest = test_and_rest(dataset, test, division)
        survey = take_stock(dataset, [readings[index[name]] for name in rest], [])
        tested = [index[name] for name in test_ids]
        for budget in budgets:
            for name in names:
                labelled = [index[one] for one in chosen_ids(survey, name, budget)]
                near = (intensities[tested] @ intensities[labelled].T).argmax(1)
                score = dice[tested, np.asarray(labelled)[near]].mean()
                found.setdefault((budget, name), []).append(float(score))
    return [_score(found, budget, name, draws) for budget in budgets for name in strategies]


def _intensities(reading: Reading) -> Array:
    if reading.intensities is None:
        raise ConfigError(
            f"{reading.case.id}: {reading.errors}",
            expected="a data set without errors",
            remedy="run monai-semiseg check, and leave such scans out",
        )
    return reading.intensities


def _score(
    found: dict[tuple[int, str], list[float]], budget: int, name: str, draws: int
) -> ProxyScore:
    random = np.asarray([found[budget, draw_name(n)] for n in range(draws)])
    dice = np.asarray(found[budget, name])
    spread = random.std(0, ddof=1).mean() if draws > 1 else float("nan")
    return ProxyScore(
        budget,
        name,
        float(dice.mean()),
        float(random.mean()),
        float(spread),
        float((random < dice).mean()),
    )


def mask_dice(
    dataset: ScanDataset, cases: Sequence[DatasetCase], *, progress: bool = True
) -> Array:
    """Return the mean foreground Dice of the masks of every two scans, ``(scans, scans)``.

    Masks are compared on a grid of 32 points along each axis of a scan, 64 along those of a 2-D
    image, which spans the whole image. A class that neither mask has counts as 1.

    Args:
        dataset: the data set.
        cases: some of its cases, all with a label.
        progress: show a progress bar.

    Raises:
        InputError: If an image or a label cannot be read.
    """
    bar = tqdm(cases, "Labels", unit="scan", disable=None if progress else True)
    masks = np.stack([_mask(dataset, case) for case in bar])
    left_out = (background_of(dataset.labels), ignore_value(dataset.labels))
    classes = [value for value in np.unique(masks).tolist() if value not in left_out]
    total = np.zeros((len(masks), len(masks)))
    for value in classes:
        voxels = (masks == value).astype(np.float32)
        sizes = voxels.sum(1)
        both = sizes[:, None] + sizes[None]
        total += np.where(both > 0, 2 * (voxels @ voxels.T) / np.maximum(both, 1), 1.0)
    return np.asarray(total / max(1, len(classes)))


def _mask(dataset: ScanDataset, case: DatasetCase) -> NDArray[np.integer]:
    """Return the label of a case at the points of the grid, one axis."""
    image = dataset.read_image(case)
    paths = label_paths(dataset.root, case.label or ())
    label = read_label(paths, dataset.label_rule)
    voxels = in_ras_order(onto_grid(label.array, label.grid, image.grid, paths[0]), image.affine)
    side = _SIDES[spatial_dims_of(voxels.shape)]
    places = [
        np.linspace(0, size - 1, 1 if size == 1 else side).round().astype(int)
        for size in voxels.shape
    ]
    return np.asarray(voxels[np.ix_(*places)]).ravel()
