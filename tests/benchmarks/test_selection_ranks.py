"""Strategies over several studies, and the default that follows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_semiseg.benchmarks.selection_ranks import default_of, ranks, read_all, read_selections
from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.metrics import METRICS
from monai_semiseg.labelling.strategies import DEFAULT
from monai_semiseg.storage.tables import write_table
from monai_semiseg.study.selections import AgainstDraws

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "bundles" / "semisupervised_baselines" / "docs"
HEAD = ["arm", "labelled", "split", "seed", "case", "class", "name", *METRICS]


def against(selection: str, labelled: int, better: int) -> AgainstDraws:
    return AgainstDraws("supervised", labelled, selection, 0.75, 10, 0.7, 0.05, better)


def test_the_table_and_its_sentence_by_hand() -> None:
    studies = {
        "scans": [against("a", 2, 1), against("b", 2, 10), against("a", 4, 3), against("b", 4, 5)],
        "photos": [against("a", 2, 4), against("b", 2, 0), against("a", 4, 4), against("b", 4, 0)],
    }
    lines = ranks(studies).splitlines()
    assert lines[0] == "| data set | labels | random | a | b |"
    assert lines[2] == "| scans | 2 | 0.700 ± 0.050 | 0.750, 90% | 0.750, 0% |"
    assert lines[-4] == "| draws beaten, mean |  | 50% | 70% | 62% |"
    assert lines[-3] == "| draws beaten, lowest data set |  |  | 60% | 25% |"
    assert lines[-1] == "default: not decided, the rule needs 4 data sets, here are 2"
    four = {f"{name} {n}": rows for name, rows in studies.items() for n in (1, 2)}
    assert ranks(four).splitlines()[-1] == "default: a"
    four["scans 1"] = [against("a", 2, 10), against("b", 2, 10)]
    assert ranks(four).splitlines()[-1].startswith("default: random, since no strategy beats 70%")


def test_strategies_that_choose_at_random_pass_in_six_of_a_hundred_tables() -> None:
    """Check the figure of the page: 5 strategies, 4 data sets, 3 budgets, 10 draws."""
    drawn = np.random.default_rng(0).integers(0, 11, (4000, 5, 4, 3)).mean(3) / 10
    tables = [{str(s): dict(enumerate(row)) for s, row in enumerate(one)} for one in drawn]
    passed = [default_of(table) != "random" for table in tables]
    assert np.mean(passed) == pytest.approx(0.06, abs=0.01)


@pytest.mark.parametrize(
    ("shares", "default"),
    [
        ({"a": {"x": 0.7, "y": 0.7}, "b": {"x": 0.9, "y": 0.6}}, "b"),
        ({"a": {"x": 0.69, "y": 0.7}}, "random"),
        ({"a": {"x": 1.0, "y": 0.49}}, "random"),
        ({"a": {"x": 1.0, "y": 0.49}, "b": {"x": 0.75, "y": 0.75}}, "b"),
    ],
)
def test_the_rule(shares: dict[str, dict[str, float]], default: str) -> None:
    assert default_of(shares) == default


def test_the_page_has_the_table_and_the_default_follows_from_it() -> None:
    names = ("hippocampus", "left_atrium", "glas", "ham10000")
    table = ranks(read_all([DOCS / f"selections_{name}" for name in names]))
    *rows, default = [line for line in table.splitlines() if line]
    page = (ROOT / "docs" / "which_scans_to_label.md").read_text()
    assert "\n".join(rows) in page
    assert default.startswith(f"default: {DEFAULT}")


def write_study(folder: Path, dice: dict[str, dict[int, float]], dataset: str = "scans") -> None:
    """Write a study of one test case: Dice by selection and number of labels."""
    folder.mkdir()
    protocol = {"versions": {}, "cells": {}, "dataset": dataset}
    (folder / "protocol.json").write_text(json.dumps(protocol))
    rows = [
        ["supervised", labelled, name, 0, "c", 1, "x", *[value for _ in METRICS]]
        for name, values in dice.items()
        for labelled, value in values.items()
    ]
    write_table(folder / "results.csv", HEAD, rows)


def test_a_study_is_read_and_one_that_has_not_ended_is_refused(tmp_path: Path) -> None:
    draws = {f"random_{n}": {2: n / 10, 4: n / 10} for n in range(10)}
    write_study(tmp_path / "whole", {**draws, "a": {2: 0.85, 4: 0.05}})
    name, compared = read_selections(tmp_path / "whole")
    assert name == "scans"
    assert [(one.labelled, one.better) for one in compared] == [(2, 1), (4, 9)]
    write_study(tmp_path / "begun", {**draws, "a": {2: 0.85, 4: 0.05}, "b": {2: 0.5}})
    with pytest.raises(ConfigError, match="run the study to its end"):
        read_selections(tmp_path / "begun")
    few = {name: draws[name] for name in [*draws][:9]}
    write_study(tmp_path / "few", {**few, "a": {2: 0.85, 4: 0.05}})
    with pytest.raises(ConfigError, match="10 random draws"):
        read_selections(tmp_path / "few")
    with pytest.raises(ConfigError, match="no strategy beside random draws"):
        read_selections(DOCS / "study_glas_4_labels")
    with pytest.raises(ConfigError, match="no results of a study"):
        read_selections(tmp_path)


def test_studies_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    draws = {f"random_{n}": {2: n / 10} for n in range(10)}
    write_study(tmp_path / "one", {**draws, "a": {2: 0.5}})
    write_study(tmp_path / "two", {**draws, "b": {2: 0.5}}, dataset="photographs")
    assert list(read_all([tmp_path / "one"])) == ["scans"]
    with pytest.raises(ConfigError, match="a second study of scans"):
        read_all([tmp_path / "one", tmp_path / "one"])
    with pytest.raises(ConfigError, match="those of the first folder: a"):
        read_all([tmp_path / "one", tmp_path / "two"])
