"""Grid of a study: arms x label budgets x splits x training seeds, checked before any work.

A split says which scans are labelled: a seed draws them, or they are given under a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product
from pathlib import Path
from typing import Any, TypeAlias

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.split import AUTO, count_of, test_and_rest
from monai_semiseg.errors import ConfigError
from monai_semiseg.study.arms import LONGER, REFERENCE, Arm, longer_reference, mapping_of

Split: TypeAlias = int | str  # a seed, or the name of a selection


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation.

    Attributes:
        arm: way to train.
        labelled: budget of labelled scans.
        split: seed that selects the labelled scans, or the name of a selection.
        seed: of the training.
    """

    arm: Arm
    labelled: int
    split: Split
    seed: int

    @property
    def id(self) -> str:
        """Return the folder name."""
        return cell_id(self.arm.name, self.labelled, self.split, self.seed)


def split_id(labelled: int | str, split: int | str) -> str:
    """Return the name of a budget's split in folders."""
    return f"{labelled}_labelled__split_{split}"


def cell_id(arm: str, labelled: int | str, split: int | str, seed: int | str) -> str:
    """Return a cell's name in folders and tables."""
    return f"{arm}__{split_id(labelled, split)}__seed_{seed}"


@dataclass(frozen=True)
class Rates:
    """Learning rates that every arm chooses from, by cross-validation among the labelled scans.

    Attributes:
        values: the rates; with none, every arm keeps that of its config.
        folds: of the cross-validation; with fewer labelled scans, each is left out once.
    """

    values: tuple[float, ...] = ()
    folds: int = 3


@dataclass(frozen=True)
class Grid:
    """All cells of a study.

    Attributes:
        dataset: folder of the dataset.
        output: folder of the study.
        arms: ways to train; the one named ``supervised`` is the reference of the others.
        labelled: label budgets, as counts.
        splits: seeds that select the labelled scans, or names of selections.
        seeds: of the trainings.
        full: labelled scans that are not test: the budget that is all labels.
        test: test scans, as ``split`` takes it.
        iterations: optimiser steps of every cell whose arm does not say otherwise.
        validation: labelled scans for validation, as ``split`` takes it.
        rates: learning rates to choose from.
        further: cells beside the product of arms, budgets, splits and seeds.
        selected: budget and name of a selection -> ids of the scans that it labels.
        more: labels to come, whose gain is estimated; None is half of the largest budget.
    """

    dataset: Path
    output: Path
    arms: tuple[Arm, ...]
    labelled: tuple[int, ...]
    splits: tuple[Split, ...]
    seeds: tuple[int, ...]
    full: int
    test: float | str
    iterations: int
    validation: float | str = AUTO
    rates: Rates = Rates()
    further: tuple[Cell, ...] = ()
    selected: Mapping[tuple[int, Split], tuple[str, ...]] = field(default_factory=dict)
    more: int | None = None

    def __post_init__(self) -> None:
        """Refuse a number of labels to come that is none.

        Raises:
            ConfigError: If ``more`` is below 1.
        """
        if self.more is not None and self.more < 1:
            raise ConfigError(f"--next {self.more}", expected="at least 1 further label")

    @property
    def by_selection(self) -> bool:
        """Return True if the labelled scans are given, and no seed draws them."""
        return any(isinstance(split, str) for split in self.splits)

    @property
    def cells(self) -> list[Cell]:
        """Return all cells once; those of one budget and split follow each other."""
        cells = [*_product(self.arms, self.labelled, self.splits, self.seeds), *self.further]
        return list({cell.id: cell for cell in cells}.values())

    def iterations_of(self, arm: Arm) -> int:
        """Return the optimiser steps of an arm."""
        return whole(arm.settings.get("iterations", self.iterations))


def _product(
    arms: Sequence[Arm], labelled: Sequence[int], splits: Sequence[Split], seeds: Sequence[int]
) -> list[Cell]:
    return [
        Cell(arm, count, split, seed)
        for count, split, seed, arm in product(labelled, splits, seeds, arms)
    ]


def make_grid(
    dataset: ScanDataset,
    output: Path,
    arms: Sequence[Arm],
    *,
    labelled: Sequence[str],
    splits: Sequence[int | str],
    seeds: Sequence[int | str],
    test: float | str,
    iterations: int,
    validation: float | str = AUTO,
    rates: Rates = Rates(),
    gates: bool = False,
    also: Sequence[Mapping[str, Sequence[str]]] = (),
    selections: Sequence[str] = (),
) -> Grid:
    """Check the settings of a study and resolve label budgets to counts.

    Args:
        dataset: the dataset.
        output: folder of the study.
        arms: ways to train.
        labelled: counts, fractions of the scans that are not test, or ``all``.
        splits: seeds that select the labelled scans.
        seeds: of the trainings.
        test: test scans, a count, a fraction or a pattern of ids.
        iterations: optimiser steps of every cell.
        validation: a share of the labelled scans, or ``auto``.
        rates: learning rates to choose from.
        gates: add the cells that the gates need, on the first split: supervised learning with all
            labels, and with twice the iterations at the fewest.
        also: further cells, each entry a product of its ``arms`` (names), ``labelled``, ``splits``
            and ``seeds``; missing keys take the values above.
        selections: names that take the place of the splits' seeds; whoever calls adds
            ``selected``.

    Raises:
        ConfigError: If a budget cannot be met, or names are not unique or cannot be folders.
    """
    _check_names([arm.name for arm in arms])
    axes = {"labelled": labelled, "splits": selections or splits, "seeds": seeds}
    _check_counts([arms, *axes.values()], iterations)
    full = len(test_and_rest(dataset, test)[1])
    further = [_further_cells({**axes, **entry}, arms, full, selections) for entry in also]
    grid = Grid(
        dataset.root.resolve(),
        output.resolve(),
        tuple(arms),
        _budgets(labelled, full),
        _splits(axes["splits"], selections),
        _numbers(seeds),
        full,
        test,
        iterations,
        validation,
        _checked(rates),
        tuple(chain.from_iterable(further)),
    )
    return _with_gates(grid) if gates else grid


def _check_counts(axes: Sequence[Sequence[object]], iterations: int) -> None:
    if not all(axes) or iterations < 1:
        raise ConfigError(
            "an empty study", expected="at least one method, budget, split, seed and iteration"
        )


def _with_gates(grid: Grid) -> Grid:
    """Return the grid with the cells that the gates need."""
    longer = longer_reference(grid.arms, grid.iterations)
    reference = [arm for arm in grid.arms if arm.name == REFERENCE]
    fewest = min(grid.labelled)
    first = grid.splits[:1]
    cells = _product(reference, (fewest, grid.full), first, grid.seeds)
    cells += _product([longer], (fewest,), first, grid.seeds)
    return replace(grid, further=(*grid.further, *cells))


def _splits(asked: Sequence[int | str], selections: Sequence[str]) -> tuple[Split, ...]:
    """Return seeds of splits, or names among the selections if there are some."""
    if not selections:
        return _numbers(asked)
    unknown = sorted(set(map(str, asked)) - set(selections))
    if unknown:
        raise ConfigError(f"splits {unknown}", expected=f"names of {', '.join(selections)}")
    return tuple(dict.fromkeys(map(str, asked)))


def _numbers(seeds: Sequence[int | str]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(whole(seed) for seed in seeds))


def _checked(rates: Rates) -> Rates:
    """Refuse learning rates and folds that cannot be."""
    if rates.folds < 2 or not all(rate > 0 for rate in rates.values):
        raise ConfigError(
            f"learning rates {list(rates.values)} in {rates.folds} folds",
            expected="rates above 0, and at least 2 folds",
        )
    return replace(rates, values=tuple(dict.fromkeys(rates.values)))


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name == LONGER or names.count(name) > 1 or not re.fullmatch(r"[\w.+-]+", name):
            raise ConfigError(
                f"arm name {name!r}",
                expected=f"unique names of letters, digits and . _ + -, other than {LONGER}",
            )


def _further_cells(
    entry: Mapping[str, Any], arms: Sequence[Arm], full: int, selections: Sequence[str]
) -> list[Cell]:
    """Return the cells of one entry of ``also``."""
    names = [arm.name for arm in arms]
    keys = ("arms", "labelled", "splits", "seeds")
    wanted = mapping_of(entry, keys, "also").get("arms", names)
    unknown = set(wanted) - set(names)
    if unknown:
        raise ConfigError(f"also names {sorted(unknown)}", expected=f"arms: {', '.join(names)}")
    return _product(
        [arm for arm in arms if arm.name in wanted],
        _budgets(entry["labelled"], full),
        _splits(entry["splits"], selections),
        _numbers(entry["seeds"]),
    )


def _budgets(labelled: Sequence[str], full: int) -> tuple[int, ...]:
    """Return budgets as counts of the ``full`` scans that could be labelled."""
    counts = [_budget(text, full) for text in labelled]
    if min(counts) < 1:
        raise ConfigError("a label budget of 0", expected="--labelled of at least 1 scan")
    return tuple(dict.fromkeys(counts))


def _budget(text: str, full: int) -> int:
    if text == "all":
        return full
    try:
        number = float(text)
    except ValueError as error:
        raise ConfigError(
            f"--labelled {text!r}", expected="counts, fractions below 1, or all"
        ) from error
    return count_of(number, full, "labelled")


def whole(value: Any) -> int:
    """Return a value of the command line or a YAML file as a whole number.

    Raises:
        ConfigError: If it is not one.
    """
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{value!r}", expected="a whole number") from error
