"""Learning rate of every arm, chosen by cross-validation among the labelled training scans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from monai_semiseg.datasets.datalist import load_datalist, write_datalist
from monai_semiseg.datasets.folds import cross_validation_folds
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import write_table
from monai_semiseg.study.arms import LONGER, REFERENCE, Arm
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.grid import Cell, Grid, split_id
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.results import rows_of

KEY = "learning_rate"
_SEED = 0  # of every trial: a table with further seeds needs no further trials


@dataclass(frozen=True)
class RateSearch:
    """The learning rates of one arm, budget and split, and their cross-validation.

    Attributes:
        cell: one of the cells that it is for.
        trials: learning rate -> a cell for each fold; without folds, the first rate is taken.
        file: where the choice is kept.
    """

    cell: Cell
    trials: Mapping[float, tuple[CellSpec, ...]]
    file: Path

    @property
    def folds(self) -> int:
        """Return the number of folds; 0 if no rates are compared."""
        return max(map(len, self.trials.values()))

    @property
    def open_trials(self) -> list[CellSpec]:
        """Return the trials that the choice needs; none if it is known."""
        if self.choice() is not None:
            return []
        return [trial for trials in self.trials.values() for trial in trials]

    @cached_property
    def digest(self) -> str:
        """Return the hash of all that the choice depends on."""
        parts = {rate: [one.digest() for one in trials] for rate, trials in self.trials.items()}
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def choice(self) -> dict[str, Any] | None:
        """Return the chosen rate with its scores, written at the first call after the last trial.

        Returns:
            ``learning_rate``, and ``scores`` (rate -> mean Dice of the held-out scans); None while
            trials are not finished.
        """
        if self.file.is_file():
            known: dict[str, Any] = json.loads(self.file.read_text())
            if known["digest"] == self.digest:
                return known
        if not all(_finished(one) for trials in self.trials.values() for one in trials):
            return None
        scores = {f"{rate:g}": _dice(trials) for rate, trials in self.trials.items() if trials}
        best = max(self.trials, key=lambda rate: scores.get(f"{rate:g}", 0.0))
        return self.write({KEY: best, "folds": self.folds, "scores": scores})

    def write(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a choice, and return it."""
        choice = {**content, "digest": self.digest}
        write_atomically(self.file, json.dumps(choice, indent=1) + "\n")
        return choice


def _finished(trial: CellSpec) -> bool:
    """Return True if a trial is finished, and was run as it would be now."""
    outcome = CellOutcome(trial)
    return outcome.done and outcome.read()["digest"] == trial.digest()


def _dice(trials: Sequence[CellSpec]) -> float:
    """Return the mean over held-out scans of the mean Dice over classes."""
    found: dict[tuple[str, str], list[float]] = {}
    for trial in trials:
        for row in rows_of(trial):
            found.setdefault((trial.name, row.case), []).append(row.scores[0])
    return round(float(np.mean([np.mean(values) for values in found.values()])), 5)


def search_name(cell: Cell) -> str:
    """Return the name of the search that tells a cell its learning rate.

    The control of the gates takes that of supervised learning: it differs in its iterations alone.
    """
    arm = REFERENCE if cell.arm.name == LONGER else cell.arm.name
    return f"{arm}__{split_id(cell.labelled, cell.split)}"


def rate_searches(grid: Grid, specs: Sequence[CellSpec]) -> dict[str, RateSearch]:
    """Write the datalists of all folds; return the searches that the cells need, by name.

    An arm whose settings have a ``learning_rate`` keeps it.

    Raises:
        ConfigError: If an arm's config has no ``learning_rate``.
    """
    searches: dict[str, RateSearch] = {}
    folds: dict[Path, list[Path]] = {}
    for spec in specs:
        name = search_name(spec.cell)
        if not _searched(grid, spec) or name in searches or spec.cell.arm.name == LONGER:
            continue
        if spec.datalist not in folds:
            folds[spec.datalist] = _write_folds(grid, spec)
        file = grid.output / "learning_rates" / f"{name}.json"
        searches[name] = RateSearch(spec.cell, _trials(grid, spec, folds[spec.datalist]), file)
    return searches


def _searched(grid: Grid, spec: CellSpec) -> bool:
    return bool(grid.rates.values) and KEY not in spec.cell.arm.settings


def _write_folds(grid: Grid, spec: CellSpec) -> list[Path]:
    """Write the datalists of a split's folds; none if there is nothing to compare."""
    if len(grid.rates.values) < 2:
        return []
    files = []
    found = cross_validation_folds(load_datalist(spec.datalist), grid.rates.folds)
    for number, fold in enumerate(found):
        file = spec.datalist.parent / "folds" / f"{number}_of_{len(found)}.json"
        files.append(write_datalist(fold, file))
    return files


def _trials(grid: Grid, spec: CellSpec, folds: Sequence[Path]) -> dict[float, tuple[CellSpec, ...]]:
    """Return, for each rate, a training per fold, tested on the scans that are held out."""
    trials = {}
    for rate in grid.rates.values:
        cell = replace(spec.cell, arm=_with_rate(spec.cell.arm, rate), seed=_SEED)
        name = f"{search_name(cell)}__rate_{rate:g}__fold_"
        trials[rate] = tuple(
            replace(spec, cell=cell, folder=grid.output / "trials" / f"{name}{n}", datalist=fold)
            for n, fold in enumerate(folds)
        )
    return trials


def _with_rate(arm: Arm, rate: float) -> Arm:
    config = arm.bundle / "configs" / "train.json"
    if KEY not in json.loads(config.read_text()):
        raise ConfigError(
            f"arm {arm.name!r} has no {KEY!r}",
            expected="a training with this key, since learning_rates are compared",
            path=config,
        )
    return replace(arm, settings={**arm.settings, KEY: rate})


def search_of(spec: CellSpec, searches: Mapping[str, RateSearch]) -> RateSearch | None:
    """Return the search that tells a cell its learning rate; None if its arm has one."""
    return None if KEY in spec.cell.arm.settings else searches.get(search_name(spec.cell))


def open_trials(specs: Sequence[CellSpec], searches: Mapping[str, RateSearch]) -> list[CellSpec]:
    """Return the trials that the learning rates of these cells still wait for."""
    found = {id(one): one for spec in specs if (one := search_of(spec, searches)) is not None}
    return [trial for search in found.values() for trial in search.open_trials]


def with_chosen_rates(
    specs: Sequence[CellSpec], searches: Mapping[str, RateSearch]
) -> tuple[list[CellSpec], list[CellSpec]]:
    """Return the cells with their learning rates, and those whose rate is not known yet.

    Args:
        specs: cells of a study.
        searches: of :func:`rate_searches`; without one for it, a cell stays as it is.
    """
    known = []
    waiting = []
    for spec in specs:
        search = search_of(spec, searches)
        choice = None if search is None else search.choice()
        if search is None:
            known.append(spec)
        elif choice is None:
            waiting.append(spec)
        else:
            arm = _with_rate(spec.cell.arm, choice[KEY])
            cell = replace(spec.cell, arm=arm)
            known.append(replace(spec, cell=cell, rate_scores=choice["scores"]))
    return known, waiting


def write_learning_rates(searches: Mapping[str, RateSearch], path: Path) -> None:
    """Write ``learning_rates.csv``: a row for each arm, budget, split and rate.

    Rates without a Dice were not compared: there is one rate, or one labelled scan. Without a
    search no file is written.
    """
    lines: list[list[str | int]] = []
    for search in searches.values():
        choice = search.choice()
        if choice is None:
            continue
        for rate in search.trials:
            dice = choice["scores"].get(f"{rate:g}", "")
            chosen = "yes" if rate == choice[KEY] else "no"
            cell = search.cell
            of_search = [cell.arm.name, cell.labelled, cell.split, choice["folds"]]
            lines.append([*of_search, f"{rate:g}", dice, chosen])
    if lines:
        write_table(path, ["arm", "labelled", "split", "folds", KEY, "dice", "chosen"], lines)
