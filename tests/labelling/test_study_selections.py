"""A study by selections from the command line: strategies choose, a few are trained, a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.split import split
from monai_semiseg.datasets.split import test_and_rest as held_out_and_rest
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.study_selections import check_strategies, chosen_ids, survey_of
from monai_semiseg.study import runner
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.runner import RunOutcome
from tests.study.cell_builders import BASELINES, finish

SMALL = {
    "patch_size": "[32,32,32]",
    "network_def#features": "[4,4,4,4,4,4]",
    "epoch_iterations": 1,
    "num_workers": 0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_dataset: Callable[..., Path]) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), scans=16, shape=(20, 24, 18))


def ask(folder: Path, output: Path, *more: str) -> int:
    config = output.parent / "study.yaml"
    content = {
        "arms": {"supervised": {"settings": SMALL}},
        "labelled": [2],
        "test": 3,
        "budget": 2,
        "selections": ["kmedoids", "typiclust"],
    }
    config.write_text(yaml.safe_dump(content))
    words = ["--config", str(config), "--output", str(output), "--bundle", str(BASELINES)]
    return main(["study", str(folder), *words, "--device", "cpu", *more])


def test_a_draw_is_what_split_labels(folder: Path) -> None:
    dataset = open_dataset(folder)
    test_ids, rest = held_out_and_rest(dataset, 3)
    survey = survey_of(dataset, rest, progress=False)
    labelled = {entry["image"] for entry in split(dataset, labelled=4, test=3, seed=7)["training"]}
    assert {f"images/{name}.nii.gz" for name in chosen_ids(survey, "random_7", 4)} == labelled
    for name in ("kmedoids", "random_1"):
        assert not set(chosen_ids(survey, name, 5)) & set(test_ids)
        assert chosen_ids(survey, name, len(rest)) == rest


def test_strategies_that_no_study_takes() -> None:
    for name, words in (("kmedoid", "did you mean"), ("uncertainty", "needs a trained model")):
        with pytest.raises(ConfigError, match=words):
            check_strategies([name])


def test_every_selection_is_a_cell_and_is_made_once(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run_cells(specs: list[CellSpec], **_: int) -> RunOutcome:
        for n, spec in enumerate(specs):
            finish(spec, 0.5 + 0.01 * n)
        return RunOutcome()

    monkeypatch.setattr(runner, "run_cells", run_cells)
    assert ask(folder, tmp_path / "out") == 0
    table = capsys.readouterr().out
    assert "| 2 | supervised | kmedoids | 0.6150 | 0.5600 ± 0.0303 (10) | 1 of 11 |" in table
    kept = sorted((tmp_path / "out" / "selections").iterdir())
    assert len(kept) == 12 and all(len(json.loads(file.read_text())) == 2 for file in kept)
    monkeypatch.setattr("monai_semiseg.labelling.study_selections.survey_of", None)
    assert ask(folder, tmp_path / "out", "--report") == 0  # nothing is read again
    assert capsys.readouterr().out == table


@pytest.mark.parametrize(
    "more",
    [
        ("--selections", "kmedoid"),
        ("--draws", "9"),
        ("--labelled", "14"),
        ("--selections", "random"),
    ],
    ids=lambda more: " ".join(more),
)
def test_refused_before_any_work(
    more: tuple[str, ...], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(folder, tmp_path / "out", *more) == 2
    assert capsys.readouterr().err.startswith("E_CONFIG")
    assert not (tmp_path / "out" / "cells").exists()


@pytest.mark.slow
def test_a_selection_is_trained(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Train the last strategy of twelve cells, and write its score."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_cells = runner.run_cells
    monkeypatch.setattr(runner, "run_cells", lambda specs, **more: run_cells(specs[-1:], **more))
    assert ask(folder, tmp_path / "out") == 0
    assert "no selection and random draw of one budget are finished" in capsys.readouterr().out
    cell = "supervised__2_labelled__split_typiclust__seed_0"
    assert (tmp_path / "out" / "cells" / cell / "cell.json").is_file()
    (head, *rows) = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert head.startswith("arm,labelled,split,seed,case") and len(rows) == 3 * 2
    assert all(row.startswith("supervised,2,typiclust,0,") for row in rows)
