"""A study is checked before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.bundles.locate import methods_of
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.study.arms import LONGER, Arm, Stage, arms_from, arms_of_file
from monai_semiseg.study.grid import Rates, make_grid
from tests.study.cell_builders import small_study

NAMES = ["supervised", "mean_teacher"]
BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
DATASET = ScanDataset(
    Path("d"), "d", "MRI", {}, [DatasetCase(str(n), f"{n}", f"l{n}") for n in range(50)]
)


def grid(arms: list[Arm] | None = None, **settings: Any) -> Any:
    usual = {"labelled": ["4", "0.5", "all"], "test": 10, "iterations": 5}
    asked = small_study(**{**usual, **settings})
    return make_grid(
        DATASET, Path("o"), [Arm("supervised", BUNDLE)] if arms is None else arms, **asked
    )


def test_cells() -> None:
    found = grid(arms_from(["supervised", "mean_teacher"], ["random"], BUNDLE))
    assert found.labelled == (4, 20, 40) and len(found.cells) == 12
    assert [cell.id for cell in found.cells[:4]] == [
        "supervised__4_labelled__split_0__seed_0",
        "mean_teacher__4_labelled__split_0__seed_0",
        "supervised__4_labelled__split_1__seed_0",
        "mean_teacher__4_labelled__split_1__seed_0",
    ]
    assert len({cell.id for cell in found.cells}) == 12


def test_further_cells() -> None:
    """Add cells beside the product of arms, budgets, splits and seeds; doubles are one."""
    arms = arms_from(NAMES, ["random"], BUNDLE)
    also = [
        {"arms": ["supervised"], "labelled": ["all"], "splits": ["0"]},
        {"labelled": ["4", "2"], "splits": ["1"], "seeds": ["0", "5"]},
    ]
    found = grid(arms, labelled=["4"], also=also)
    names = [cell.id for cell in found.cells]
    assert len(names) == len(set(names)) == 4 + 1 + 6 and found.labelled == (4,)
    assert names[4:] == [
        "supervised__40_labelled__split_0__seed_0",
        "supervised__4_labelled__split_1__seed_5",
        "mean_teacher__4_labelled__split_1__seed_5",
        *(f"{arm}__2_labelled__split_1__seed_{seed}" for seed in (0, 5) for arm in NAMES),
    ]
    wrong = [{"arms": ["nobody"]}, {"budget": ["4"]}, {"labelled": ["0"]}]
    for bad in (*wrong, {"seeds": ["x"]}, {"splits": ["x"]}):
        with pytest.raises(ConfigError):
            grid(also=[bad])


def test_training_seeds_are_apart_from_splits() -> None:
    found = grid(labelled=["4"], splits=[3, 4], seeds=[0, 7])
    assert [(cell.split, cell.seed) for cell in found.cells] == [(3, 0), (3, 7), (4, 0), (4, 7)]
    assert len({cell.id for cell in found.cells}) == 4


def test_cells_that_the_gates_need() -> None:
    """Add cells on the first split: all labels, and twice the iterations at the fewest."""
    arms = [Arm("supervised", BUNDLE, settings={"iterations": 30}), Arm("other", BUNDLE)]
    asked = {"labelled": ["8", "4"], "splits": [2, 3], "seeds": [0, 1]}
    plain, gated = grid(arms, **asked), grid(arms, gates=True, **asked)
    added = [cell for cell in gated.cells if cell.id not in {one.id for one in plain.cells}]
    assert [(cell.arm.name, cell.labelled, cell.split, cell.seed) for cell in added] == [
        ("supervised", 40, 2, 0),
        ("supervised", 40, 2, 1),
        (LONGER, 4, 2, 0),
        (LONGER, 4, 2, 1),
    ]
    assert [gated.iterations_of(cell.arm) for cell in (added[0], added[2])] == [30, 60]
    assert gated.iterations_of(arms[1]) == 5
    assert gated.arms == tuple(arms)


def test_a_given_test_set_leaves_the_rest() -> None:
    assert grid(test="1*", labelled=["all"]).labelled == (39,)  # 1 and 10 to 19


def test_every_overlay_of_the_bundle_is_a_method() -> None:
    assert set(methods_of(BUNDLE)) == {"supervised"} | {
        f.stem for f in (BUNDLE / "configs" / "methods").iterdir()
    }


def test_initialisations_multiply(tmp_path: Path) -> None:
    (tmp_path / "w.pt").touch()
    arms = arms_from(["supervised", "mean_teacher"], ["random", f"own={tmp_path / 'w.pt'}"], BUNDLE)
    assert [arm.name for arm in arms] == [
        "supervised",
        "mean_teacher",
        "supervised+own",
        "mean_teacher+own",
    ]
    assert [arm.initialisation is None for arm in arms] == [True, True, False, False]


def test_arms_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "o.yaml").touch()
    overlays = {
        "overlays": [str(tmp_path / "o.yaml")],
        "evaluate_overlays": [str(tmp_path / "o.yaml")],
    }
    (arm,) = arms_of_file({"mine": {**overlays, "settings": {"learning_rate": 0.1}}}, BUNDLE)
    assert arm.overlays == arm.evaluate_overlays == (tmp_path / "o.yaml",)
    assert (arm.name, arm.settings, arm.bundle) == ("mine", {"learning_rate": 0.1}, BUNDLE)
    assert arms_of_file({"plain": None}, BUNDLE)[0].overlays == ()
    hebbian = str(BUNDLE.parent / "hebbian_initializer")
    pretraining = [
        {"bundle": hebbian, "config": "gone.json"},
        {"bundle": hebbian, "to": 1},
        {"bundle": "nowhere"},
    ]
    files = [
        {"overlay": []},
        {"overlays": ["gone.yaml"]},
        {"bundle": "nowhere"},
        {"initialisation": "gone.pt"},
    ]
    for bad in (*files, *({"pretrain": [stage]} for stage in pretraining)):
        with pytest.raises(ConfigError):
            arms_of_file({"bad": bad}, BUNDLE)


def test_pretraining_of_a_file() -> None:
    bundle = BUNDLE.parent / "hebbian_initializer"
    (arm,) = arms_of_file(
        {"a": {"pretrain": [{"bundle": str(bundle), "settings": {"iterations": 7}}]}}, BUNDLE
    )
    assert arm.stages == (Stage(bundle, "pretrain.json", (), {"iterations": 7}),)
    with pytest.raises(ConfigError, match="no later step has 'teacher_weights'"):
        arms_of_file(
            {"a": {"pretrain": [{"bundle": str(bundle), "hands_to": "teacher_weights"}]}}, BUNDLE
        )


@pytest.mark.parametrize(
    ("methods", "starts", "words"),
    [
        (["mean_techer"], ["random"], "did you mean 'mean_teacher'"),
        (["supervised"], ["own=gone.pt"], "own=gone.pt"),
        (["supervised"], ["own"], "NAME=FILE"),
        (["supervised"], ["random=x"], "random=x"),
    ],
)
def test_bad_arms(methods: list[str], starts: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        arms_from(methods, starts, BUNDLE)


@pytest.mark.parametrize(
    "settings",
    [
        *({"labelled": value} for value in (["41"], ["0"], ["many"], [])),
        {"splits": []},
        {"seeds": []},
        {"test": "testA_*"},
        {"rates": Rates((0.1, 0.0))},
        {"rates": Rates((0.1,), folds=1)},
        {"arms": [Arm(LONGER, BUNDLE)]},
        {"arms": [Arm("a", BUNDLE)], "gates": True},
        {"iterations": 0},
        {"test": 60},
        {"arms": []},
        {"arms": [Arm("a", BUNDLE), Arm("a", BUNDLE)]},
        {"arms": [Arm("../a", BUNDLE)]},
    ],
    ids=str,
)
def test_bad_grids(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        grid(**settings)
