"""A study by selections: each is held against random draws of as many scans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.study.arms import Arm
from monai_semiseg.study.cell import prepare_cells
from monai_semiseg.study.grid import Grid, make_grid
from monai_semiseg.study.report import write_results
from monai_semiseg.study.results import Row
from monai_semiseg.study.selections import against_draws, selection_names, selections_table
from tests.study.cell_builders import BASELINES, finish, make_dataset, small_study


def rows_of(dice: dict[str, float], labelled: int = 4) -> list[Row]:
    """Return rows of two cases, 0.1 apart, with two training seeds, 0.02 apart."""
    return [
        Row("supervised", labelled, name, seed, f"c{n}", "1", "x", (value + 0.1 * n + 0.02 * seed,))
        for name, value in dice.items()
        for seed in (0, 1)
        for n in (0, 1)
    ]


def test_mean_deviation_and_rank_by_hand() -> None:
    draws = {f"random_{n}": 0.5 + 0.01 * n for n in range(11)}
    (best, third) = against_draws(rows_of({**draws, "a": 0.7, "b": 0.585}))
    values = 0.06 + np.array(list(draws.values()))
    assert (best.selection, best.rank, third.rank) == ("a", "1 of 12", "3 of 12")
    assert best.dice == pytest.approx(0.76) and best.draws == 11
    assert best.draws_mean == pytest.approx(values.mean())
    assert best.draws_std == pytest.approx(values.std(ddof=1))
    assert "| 4 | supervised | a | 0.7600 | 0.6100 ± 0.0332 (11) | 1 of 12 |" in (
        selections_table([best])
    )


def test_what_is_not_finished_is_not_compared() -> None:
    assert against_draws(rows_of({"a": 0.7})) == [] == against_draws(rows_of({"random_0": 0.7}))


def test_names() -> None:
    assert selection_names(["a", "b", "a"], 10) == [*(f"random_{n}" for n in range(10)), "a", "b"]
    for strategies, draws in ((["a"], 9), (["random"], 10)):
        with pytest.raises(ConfigError, match="at least 10 draws"):
            selection_names(strategies, draws)


def small_grid(folder: Path, **changed: object) -> Grid:
    dataset = open_dataset(make_dataset(folder / "data"))
    asked = small_study(labelled=["2"], **changed)
    grid = make_grid(dataset, folder / "out", [Arm("supervised", BASELINES)], **asked)
    chosen = {"random_0": ("0", "1"), "a": ("2", "3")}
    return Grid(**{**vars(grid), "selected": {(2, name): ids for name, ids in chosen.items()}})


def test_cells_label_what_was_selected(tmp_path: Path) -> None:
    grid = small_grid(tmp_path, selections=["random_0", "a"], test="1?")
    specs = prepare_cells(grid, grid.cells)
    assert [spec.name for spec in specs] == [
        "supervised__2_labelled__split_random_0__seed_0",
        "supervised__2_labelled__split_a__seed_0",
    ]
    for spec, ids in zip(specs, ("01", "23"), strict=True):
        datalist = json.loads(spec.datalist.read_text())
        assert {entry["image"] for entry in datalist["training"]} == {
            f"images/{n}.nii" for n in ids
        }
        assert len(datalist["test"]) == 6
    for spec, dice in zip(specs, (0.5, 0.6), strict=True):
        finish(spec, dice)
    assert "| 2 | supervised | a | 0.6150 | 0.5150 ± nan (1) | 1 of 2 |" in write_results(
        grid, specs
    )
    kept = json.loads((grid.output / "selections.json").read_text())
    assert [one["selection"] for one in kept] == ["a"]
    assert "split,seed" in (grid.output / "results.csv").read_text()
    assert prepare_cells(grid, grid.cells) == specs  # again, with the same bytes


def test_names_that_are_no_selection(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"splits \['b'\]"):
        small_grid(tmp_path, selections=["random_0", "a"], also=[{"splits": ["b"]}])
