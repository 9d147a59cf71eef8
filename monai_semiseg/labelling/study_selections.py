"""Selections for a study: what every strategy would label, and random draws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.split import seeded_order, test_and_rest
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.readings import read_all
from monai_semiseg.labelling.selection import pick
from monai_semiseg.labelling.strategies import strategy_named
from monai_semiseg.labelling.survey import Survey, take_stock
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.study.grid import Grid, Split
from monai_semiseg.study.selections import is_draw


def check_strategies(names: Sequence[str]) -> None:
    """Require strategies that need no trained model.

    Raises:
        ConfigError: If one is unknown, or needs a model.
    """
    for name in names:
        strategy_named(name, has_model=False)


def with_selected(grid: Grid, dataset: ScanDataset) -> Grid:
    """Return the grid with the scans that every selection of it labels.

    The scans to choose from are those that could be labelled: labelled ones that are not test. No
    label file is read. A selection is kept in ``selections/`` of the study's folder, whole or not
    at all, and is not made again.

    Args:
        grid: a study by selections.
        dataset: sound cases of its data set.

    Raises:
        ConfigError: If fewer scans are fit than a budget asks for.
    """
    wanted = sorted({(cell.labelled, str(cell.split)) for cell in grid.cells})
    files = {
        (count, name): grid.output / "selections" / f"{count}_labelled__{name}.json"
        for count, name in wanted
    }
    survey: Survey | None = None
    selected: dict[tuple[int, Split], tuple[str, ...]] = {}
    for (count, name), file in files.items():
        if not file.is_file():
            survey = survey or survey_of(dataset, test_and_rest(dataset, grid.test)[1])
            ids = chosen_ids(survey, name, count)
            write_atomically(file, json.dumps(ids, indent=1) + "\n")
        selected[count, name] = tuple(json.loads(file.read_text()))
    return replace(grid, selected=selected)


def survey_of(dataset: ScanDataset, ids: Sequence[str], *, progress: bool = True) -> Survey:
    """Return what is known of some scans, as if none of them had a label.

    Args:
        dataset: the data set.
        ids: scans to choose from.
        progress: show a progress bar.
    """
    among = set(ids)
    cases: list[DatasetCase] = [case for case in dataset.cases if case.id in among]
    readings = read_all(dataset, cases, progress=progress)
    return take_stock(dataset, readings, [])


def chosen_ids(survey: Survey, name: str, count: int) -> list[str]:
    """Return the scans that a selection labels, in order.

    Random draws take any scan, as somebody does who has not looked at them; strategies choose among
    those that are not set apart. A budget of all scans takes all.

    Args:
        survey: of the scans to choose from.
        name: of a strategy, or of a random draw.
        count: scans to label.

    Raises:
        ConfigError: If fewer are fit.
    """
    everything = sorted(survey.cases)
    if count >= len(everything):
        return everything
    if is_draw(name):
        seed = int(name.rpartition("_")[2])
        return seeded_order(everything, salt=f"labelled/{seed}")[:count]
    if count > len(survey.pool.ids):
        raise ConfigError(
            f"{count} labelled scans, and {len(survey.pool.ids)} of {len(everything)} are fit for "
            f"selection {name!r}",
            expected="a smaller budget",
        )
    picks = pick(survey, strategy_named(name), count, seed=0)
    return [survey.pool.ids[one.index] for one in picks]
