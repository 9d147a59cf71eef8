"""The learning rate of an arm is chosen among the labelled scans, once, and kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.study.arms import LONGER, Arm
from monai_semiseg.study.cell import CellSpec, prepare_cells
from monai_semiseg.study.commands import cell_commands
from monai_semiseg.study.completed_runs import import_choices, import_completed_runs
from monai_semiseg.study.grid import Grid, Rates, make_grid
from monai_semiseg.study.learning_rates import (
    RateSearch,
    open_trials,
    rate_searches,
    with_chosen_rates,
)
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.report import write_results
from monai_semiseg.study.shared_training import import_weights, should_wait_for
from tests.study.cell_builders import BASELINES, finish, make_dataset, options, small_study

RATES = (0.002, 0.0005)
FUSION = BASELINES / "configs" / "label_fusion.yaml"
ARMS = (
    Arm("supervised", BASELINES),
    Arm("fused", BASELINES, evaluate_overlays=(FUSION,)),
    Arm("own", BASELINES, settings={"learning_rate": 0.1}),
)
Study = tuple[Grid, list[CellSpec], dict[str, RateSearch]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("rates") / "dataset")


def study(dataset: Path, output: Path, **changed: Any) -> Study:
    usual = {"arms": ARMS, "labelled": ["4"], "splits": [0], "rates": Rates(RATES, 3)}
    asked = small_study(**{**usual, **changed})
    grid = make_grid(open_dataset(dataset), output, **asked)
    specs = prepare_cells(grid, grid.cells)
    return grid, specs, rate_searches(grid, specs)


def finish_trials(trials: Sequence[CellSpec], better: float = 0.0005) -> None:
    for trial in trials:
        finish(trial, 0.8 if trial.cell.arm.settings["learning_rate"] == better else 0.7)


def chosen(specs: Sequence[CellSpec], searches: dict[str, RateSearch]) -> dict[str, float]:
    known, _ = with_chosen_rates(specs, searches)
    return {spec.name: spec.cell.arm.settings["learning_rate"] for spec in known}


def test_trials_are_trainings_of_their_own(dataset: Path, tmp_path: Path) -> None:
    """Check that each holds out labelled scans, whatever the seed of the cell.

    Test scans are in none.
    """
    _, (spec, *_), searches = study(dataset, tmp_path / "study", seeds=[5])
    assert list(searches) == ["supervised__4_labelled__split_0", "fused__4_labelled__split_0"]
    trials = searches["supervised__4_labelled__split_0"].open_trials
    assert len({trial.name for trial in trials}) == 6
    assert [trial.cell.arm.settings["learning_rate"] for trial in trials] == [0.002] * 3 + [
        5e-4
    ] * 3
    whole = json.loads(spec.datalist.read_text())
    for trial in trials:
        train, scores = map(options, cell_commands(trial))
        rate = str(trial.cell.arm.settings["learning_rate"])
        assert (train["--learning_rate"], train["--seed"]) == (rate, "0")
        assert train["--datalist"] == scores["--datalist"] == str(trial.datalist)
        fold = json.loads(trial.datalist.read_text())
        assert len(fold["training"]) + len(fold["test"]) == 4
        assert all(entry in whole["training"] for entry in fold["training"] + fold["test"])
        assert trial.plan == spec.plan and trial.datalist.is_relative_to(spec.datalist.parent)


def test_the_better_rate_is_taken(dataset: Path, tmp_path: Path) -> None:
    """Check that it is part of the cell.

    Its scores stand in the cell, the table and the protocol.
    """
    grid, specs, searches = study(dataset, tmp_path / "study")
    known, waiting = with_chosen_rates(specs, searches)
    assert [spec.name.split("__")[0] for spec in known] == ["own"] and len(waiting) == 2
    trials = open_trials(specs, searches)
    assert len(trials) == 12
    finish_trials(trials[:11])
    assert len(with_chosen_rates(specs, searches)[1]) == 1
    finish_trials(trials[11:])
    assert open_trials(specs, searches) == []
    known, waiting = with_chosen_rates(specs, searches)
    assert waiting == [] and [options(cell_commands(s)[0])["--learning_rate"] for s in known] == [
        "0.0005",
        "0.0005",
        "0.1",
    ]
    assert known[0].digest() != specs[0].digest()
    for spec in known:
        finish(spec, 0.9)
    scores = {"0.002": 0.715, "0.0005": 0.815}
    assert CellOutcome(known[0]).read()["learning_rates"] == scores
    assert "learning_rates" not in CellOutcome(known[2]).read()
    write_results(grid, known, searches)
    with (grid.output / "learning_rates.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [(row["arm"], row["learning_rate"], row["chosen"]) for row in table] == [
        ("supervised", "0.002", "no"),
        ("supervised", "0.0005", "yes"),
        ("fused", "0.002", "no"),
        ("fused", "0.0005", "yes"),
    ]
    assert table[0] == {
        **table[0],
        **{"labelled": "4", "split": "0", "folds": "3", "dice": "0.715"},
    }
    protocol = json.loads((grid.output / "protocol.json").read_text())
    assert protocol["learning_rates"]["fused__4_labelled__split_0"]["scores"] == scores


def test_further_seeds_and_splits_need_no_old_trial(dataset: Path, tmp_path: Path) -> None:
    """Check that a seed takes the choice of its split; a split has trials of its own."""
    _, specs, searches = study(dataset, tmp_path / "study")
    finish_trials(open_trials(specs, searches))
    before = chosen(specs, searches)
    _, specs, searches = study(dataset, tmp_path / "study", seeds=[0, 1])
    assert open_trials(specs, searches) == []
    after = chosen(specs, searches)
    assert len(after) == 6 and before.items() <= after.items()
    _, specs, searches = study(dataset, tmp_path / "study", splits=[0, 1])
    assert {trial.cell.split for trial in open_trials(specs, searches)} == {1}


def test_a_choice_needs_its_trials_once(dataset: Path, tmp_path: Path) -> None:
    """Check that they may be removed.

    A further rate is compared again, with the trials that are there.
    """
    _, specs, searches = study(dataset, tmp_path / "study", arms=ARMS[:1])
    trials = open_trials(specs, searches)
    finish_trials(trials)
    assert list(chosen(specs, searches).values()) == [0.0005]
    _, specs, more = study(dataset, tmp_path / "study", arms=ARMS[:1], rates=Rates((*RATES, 0.01)))
    assert [trial for trial in open_trials(specs, more) if not CellOutcome(trial).done]
    assert len(with_chosen_rates(specs, more)[1]) == 1
    (trials[0].folder / "cell.json").unlink()
    _, specs, searches = study(dataset, tmp_path / "study", arms=ARMS[:1])
    assert list(chosen(specs, searches).values()) == [0.0005]


def test_trials_of_another_budget_choose_nothing(dataset: Path, tmp_path: Path) -> None:
    """Check that the choice that was made stays as it is.

    Running the trials again is refused.
    """
    _, specs, searches = study(dataset, tmp_path / "study", arms=ARMS[:1])
    finish_trials(open_trials(specs, searches))
    before = chosen(specs, searches)
    _, longer, other = study(dataset, tmp_path / "study", arms=ARMS[:1], iterations=9)
    assert chosen(longer, other) == {}
    with pytest.raises(ConfigError, match="other configs, data or settings"):
        CellOutcome(open_trials(longer, other)[0]).claim()
    assert chosen(specs, searches) == before


def test_arms_that_train_alike_share_trials(dataset: Path, tmp_path: Path) -> None:
    """Reuse a pretraining of the same fold and rate; another fold trains on other scans."""
    _, specs, searches = study(dataset, tmp_path / "study")
    trials = {trial.name: trial for trial in open_trials(specs, searches)}
    first, second = (trials[f"supervised__4_labelled__split_0__rate_0.002__fold_{n}"] for n in "01")
    taker = trials["fused__4_labelled__split_0__rate_0.002__fold_0"]
    assert should_wait_for(taker, first) and not should_wait_for(taker, second)
    for trial in (second, first):
        finish(trial, 0.8)
        (trial.folder / "learning_curve.csv").write_text("iteration\n8\n")
    taker.folder.mkdir()
    import_weights(taker, [second, first, taker])
    assert (taker.folder / "adopted.txt").read_text() == f"{first.name}\n"


def test_one_label_or_one_rate_is_not_compared(dataset: Path, tmp_path: Path) -> None:
    for name, changed in (("label", {"labelled": ["1"]}), ("rate", {"rates": Rates((0.003,))})):
        grid, specs, searches = study(dataset, tmp_path / name, arms=ARMS[:1], **changed)
        assert open_trials(specs, searches) == []
        assert list(chosen(specs, searches).values()) == [grid.rates.values[0]]
        write_results(grid, with_chosen_rates(specs, searches)[0], searches)
        table = (grid.output / "learning_rates.csv").read_text().splitlines()
        assert table[1].endswith(f",0,{grid.rates.values[0]:g},,yes")


def test_two_labels_are_left_out_one_by_one(dataset: Path, tmp_path: Path) -> None:
    _, specs, searches = study(dataset, tmp_path / "s", arms=ARMS[:1], labelled=["2"])
    assert len(open_trials(specs, searches)) == 4


def test_equal_scores_take_the_first(dataset: Path, tmp_path: Path) -> None:
    _, specs, searches = study(dataset, tmp_path / "s", arms=ARMS[:1])
    for trial in open_trials(specs, searches):
        finish(trial, 0.8)
    assert list(chosen(specs, searches).values()) == [0.002]


def test_the_control_of_the_gates_takes_the_rate_of_supervised_learning(
    dataset: Path, tmp_path: Path
) -> None:
    _, specs, searches = study(dataset, tmp_path / "s", arms=ARMS[:1], gates=True)
    assert list(searches) == [f"supervised__{n}_labelled__split_0" for n in (4, 12)]
    finish_trials(open_trials(specs, searches))
    known, _ = with_chosen_rates(specs, searches)
    (longer,) = (spec for spec in known if spec.cell.arm.name == LONGER)
    assert longer.cell.arm.settings == {"iterations": 16, "learning_rate": 0.0005}
    assert longer.iterations == 16


def test_choices_of_an_earlier_study(dataset: Path, tmp_path: Path) -> None:
    """Import it from its tables alone; not those of other folds."""
    grid, specs, searches = study(dataset, tmp_path / "earlier", arms=ARMS[:2])
    finish_trials(open_trials(specs, searches))
    known, _ = with_chosen_rates(specs, searches)
    for spec in known:
        finish(spec, 0.9)
    write_results(grid, known, searches)
    _, specs, searches = study(dataset, tmp_path / "other", rates=Rates(RATES, 2))
    assert import_choices(searches, grid.output) == 0
    _, specs, searches = study(dataset, tmp_path / "again", arms=ARMS[:2])
    assert import_choices(searches, grid.output) == 2
    assert import_choices(searches, grid.output) == 0
    again, waiting = with_chosen_rates(specs, searches)
    assert waiting == [] and import_completed_runs(again, grid.output) == 2
    assert CellOutcome(again[0]).read()["learning_rates"] == {"0.002": 0.715, "0.0005": 0.815}


def test_an_arm_without_the_key_is_refused(dataset: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "configs").mkdir(parents=True)
    for name in ("train", "evaluate"):
        (bundle / "configs" / f"{name}.json").write_text("{}")
    with pytest.raises(ConfigError, match="arm 'bare' has no 'learning_rate'"):
        study(dataset, tmp_path / "s", arms=[replace(ARMS[0], name="bare", bundle=bundle)])
