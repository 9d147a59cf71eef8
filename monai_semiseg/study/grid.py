"""Grid of a study: arms x label budgets x seeds, checked before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.split import count_of
from monai_semiseg.errors import ConfigError
from monai_semiseg.study.arms import Arm, mapping_of


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation."""

    arm: Arm
    labelled: int
    seed: int

    @property
    def id(self) -> str:
        """Return the folder name."""
        return cell_id(self.arm.name, self.labelled, self.seed)


def cell_id(arm: str, labelled: int | str, seed: int | str) -> str:
    """Return a cell's name in folders and tables."""
    return f"{arm}__{labelled}_labelled__seed_{seed}"


@dataclass(frozen=True)
class Grid:
    """All cells of a study.

    Attributes:
        dataset: folder of the dataset.
        output: folder of the study.
        arms: ways to train; the one named ``supervised`` is the reference of the others.
        labelled: label budgets, as counts.
        seeds: of the splits and the trainings.
        full: labelled scans that are not test: the budget that is all labels.
        test: test scans, as ``split`` takes it.
        iterations: optimiser steps of every cell.
        further: cells beside the product of arms, budgets and seeds.
    """

    dataset: Path
    output: Path
    arms: tuple[Arm, ...]
    labelled: tuple[int, ...]
    seeds: tuple[int, ...]
    full: int
    test: float
    iterations: int
    further: tuple[Cell, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        """Return all cells once; those of one budget and seed follow each other."""
        cells = [*_product(self.arms, self.labelled, self.seeds), *self.further]
        return list({cell.id: cell for cell in cells}.values())


def _product(arms: Sequence[Arm], labelled: Sequence[int], seeds: Sequence[int]) -> list[Cell]:
    cells = []
    for count in labelled:
        for seed in seeds:
            cells += [Cell(arm, count, seed) for arm in arms]
    return cells


def make_grid(
    dataset: ScanDataset,
    output: Path,
    arms: Sequence[Arm],
    *,
    labelled: Sequence[str],
    seeds: Sequence[int | str],
    test: float,
    iterations: int,
    also: Sequence[Mapping[str, Sequence[str]]] = (),
) -> Grid:
    """Check the settings of a study and resolve label budgets to counts.

    Args:
        dataset: the dataset.
        output: folder of the study.
        arms: ways to train.
        labelled: counts, fractions of the scans that are not test, or ``all``.
        seeds: of splits and trainings.
        test: test scans, a count or a fraction.
        iterations: optimiser steps of every cell.
        also: further cells, each entry a product of its ``arms`` (names), ``labelled`` and
            ``seeds``; missing keys take the values above.

    Raises:
        ConfigError: If a budget cannot be met, or names are not unique or cannot be folders.
    """
    numbers = [whole(seed) for seed in seeds]
    _check_names([arm.name for arm in arms])
    if not arms or not labelled or not seeds or iterations < 1:
        raise ConfigError(
            "an empty study", expected="at least one method, budget, seed and iteration"
        )
    pairs = sum(case.label is not None for case in dataset.cases)
    full = pairs - count_of(test, pairs, "test")
    counts = _budgets(labelled, full)
    further: list[Cell] = []
    for entry in also:
        further += _further_cells({"labelled": labelled, "seeds": seeds, **entry}, arms, full)
    return Grid(
        dataset.root.resolve(),
        output.resolve(),
        tuple(arms),
        counts,
        tuple(dict.fromkeys(numbers)),
        full,
        test,
        iterations,
        tuple(further),
    )


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1 or not re.fullmatch(r"[\w.+-]+", name):
            raise ConfigError(
                f"arm name {name!r}", expected="unique names of letters, digits and . _ + -"
            )


def _further_cells(entry: Mapping[str, Any], arms: Sequence[Arm], full: int) -> list[Cell]:
    """Return the cells of one entry of ``also``."""
    names = [arm.name for arm in arms]
    wanted = mapping_of(entry, ("arms", "labelled", "seeds"), "also").get("arms", names)
    unknown = set(wanted) - set(names)
    if unknown:
        raise ConfigError(f"also names {sorted(unknown)}", expected=f"arms: {', '.join(names)}")
    return _product(
        [arm for arm in arms if arm.name in wanted],
        _budgets(entry["labelled"], full),
        [whole(seed) for seed in entry["seeds"]],
    )


def _budgets(labelled: Sequence[str], full: int) -> tuple[int, ...]:
    """Return budgets as counts of the ``full`` scans that could be labelled."""
    counts = [_budget(text, full) for text in labelled]
    if min(counts) < 1:
        raise ConfigError("a budget of no label", expected="--labelled of at least 1 scan")
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
