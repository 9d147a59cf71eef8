"""Strategies of simulated rounds: which cases the labeller gets next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from monai_semiseg.cli import select
from monai_semiseg.cli.verbs import run_verb
from monai_semiseg.datasets.datalist import load_datalist
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.split import seeded_order
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.chosen import unlabelled
from monai_semiseg.labelling.strategies import COLD
from monai_semiseg.labelling.strategies import STRATEGIES as OF_SELECT
from monai_semiseg.storage.tables import write_table
from monai_semiseg.study.selections import RANDOM


def run_step(module: Any, words: Sequence[str]) -> None:
    """Run a verb as the command line does.

    Raises:
        ConfigError: If it fails.
    """
    code = run_verb(module, words)
    if code not in (0, 5):
        raise ConfigError(f"{module.__name__} ended with {code}", expected="a step that succeeds")


@dataclass(frozen=True)
class Choice:
    """Hold what a strategy may look at when it chooses the cases of a round.

    Attributes:
        dataset: the dataset; the labels of cases that are not labelled yet are not to be read.
        datalist: who is labelled so far.
        weights: folder of the training on these labels.
        count: number of cases to choose.
        seed: of the repetition.
        number: of the round, from 1.
        folder: a folder for files.
    """

    dataset: ScanDataset
    datalist: Path
    weights: Path
    count: int
    seed: int
    number: int
    folder: Path


def at_random(choice: Choice) -> str:
    """Return a table of cases in a seeded random order."""
    cases = unlabelled(choice.dataset, load_datalist(choice.datalist))
    order = seeded_order((case.id for case in cases), salt=f"{choice.seed}/{choice.number}")
    rows = [[case] for case in order[: choice.count]]
    return str(write_table(choice.folder / "to_label.csv", ["id"], rows, exact=True))


def by_doubt(choice: Choice) -> str:
    """Return the number of cases: ``propose`` then takes those that the network doubts most."""
    return str(choice.count)


def by_selection(name: str, choice: Choice) -> str:
    """Return the table of ``select`` with a strategy of its own; one that asks a model has it."""
    table = choice.folder / "to_label.csv"
    asked = ["--already", str(choice.datalist), "--count", str(choice.count)]
    asked += ["--strategy", name, "--seed", str(choice.seed), "--output", str(table)]
    asked += [] if name in COLD else ["--weights", str(choice.weights)]
    run_step(select, [str(choice.dataset.root), *asked])
    return str(table)


# Strategy -> what ``propose --cases`` gets.
STRATEGIES: dict[str, Callable[[Choice], str]] = {
    **{name: partial(by_selection, name) for name in OF_SELECT},
    RANDOM: at_random,
    "doubt": by_doubt,
}
