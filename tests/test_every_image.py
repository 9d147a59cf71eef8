"""Every method of every bundle, from check to evaluate, over 2-D and 3-D images and channels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from monai_semiseg.cli.main import main
from tests.image_kinds import (
    FEATURES,
    KINDS,
    NETWORK,
    Prepared,
    check_masks,
    check_network,
    check_scores,
    prepare,
    train,
)

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
BASELINES, HEBBIAN = "semisupervised_baselines", "hebbian_initializer"
CONTRAST, DIFFUSION = "contrastive_pretrainer", "diffusion_cotrainer"
METHODS = sorted(file.stem for file in (BUNDLES / BASELINES).glob("configs/methods/*.yaml"))
Data = Callable[[str], Prepared]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Data:
    @cache
    def of(name: str) -> Prepared:
        folder = tmp_path_factory.mktemp(name)
        build, kind = KINDS[name]
        build(folder / "data")
        return prepare(kind, folder / "data", folder)

    return of


# Recipes: the trainings that lead to a network


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        words: verb and what follows the data set.
        settings: further keys of its config.
        starts: setting -> number of the earlier stage whose weights it takes.
    """

    words: tuple[str, ...]
    settings: tuple[str, ...] = (NETWORK,)
    starts: tuple[tuple[str, int], ...] = ()


def overlay(bundle: str, name: str) -> tuple[str, str]:
    return ("--config", str(BUNDLES / bundle / "configs" / f"{name}.yaml"))


def by(verb: str, bundle: str, *words: str) -> tuple[str, ...]:
    return (verb, "--bundle", bundle, *words)


TEACHER = f"teacher_features={FEATURES}"
EMBEDDED = (NETWORK, "channels=4")
CONTRASTED = (*EMBEDDED, "dimension=8")
FIRST, SECOND = (("init_weights", 0),), (("init_weights", 1),)
RECIPES = {
    "supervised": (Stage(("train",)),),
    **{name: (Stage(("train", "--method", name)),) for name in METHODS},
    "hebbian": (Stage(by("pretrain", HEBBIAN)), Stage(by("train", HEBBIAN), starts=FIRST)),
    "contrastive": (
        Stage(by("pretrain", CONTRAST, "--stage", "global"), CONTRASTED),
        Stage(by("pretrain", CONTRAST, "--stage", "local"), CONTRASTED, FIRST),
        Stage(by("train", CONTRAST), starts=SECOND),
    ),
    "self_local": (
        Stage(
            by("pretrain", CONTRAST, "--stage", "local", *overlay(CONTRAST, "self_local")),
            CONTRASTED,
        ),
        Stage(by("train", CONTRAST), starts=FIRST),
    ),
    "diffusion": (
        Stage(by("pretrain", DIFFUSION), (TEACHER,)),
        Stage(by("pretrain", DIFFUSION, "--stage", "denoising"), EMBEDDED),
        Stage(by("train", DIFFUSION), (NETWORK, TEACHER), (("teacher_weights", 0), *SECOND)),
    ),
    "cached": (
        Stage(
            by("train", DIFFUSION, *overlay(DIFFUSION, "cached")),
            (NETWORK, TEACHER, "refresh_every=1"),
        ),
    ),
}
# Two dimensions and several channels are new to every recipe. What the bundles are made for, one
# channel in 3-D, has tests in tests/bundles, and test_slices.py there has the other recipes over
# slices.
CELLS = [
    *((recipe, kind) for recipe in RECIPES for kind in ("rgb_2d", "channels_3d")),
    *(("supervised", kind) for kind in ("grey_3d", "slices")),
    ("cached", "slices"),
]


@pytest.mark.parametrize(("recipe", "kind"), CELLS)
def test_every_method(
    recipe: str, kind: str, prepared: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = prepared(kind)
    caplog.set_level("INFO", logger="monai_semiseg.networks.weights")
    trained: list[Path] = []
    for stage in RECIPES[recipe]:
        starts = [f"{key}={trained[number] / 'model.pt'}" for key, number in stage.starts]
        folder = tmp_path / str(len(trained))
        trained.append(train(data, folder, *stage.words, settings=(*stage.settings, *starts)))
    assert caplog.text.count("tensors loaded") == sum(
        len(stage.starts) for stage in RECIPES[recipe]
    )
    assert "not used" not in caplog.text and "missing" not in caplog.text
    check_network(data, trained[-1])
    check_masks(data, trained[-1], tmp_path / "masks")
    check_scores(data, trained[-1], tmp_path / "scores")


def test_a_split_with_other_channels_in_the_plans_place_is_refused(
    prepared: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepared("channels_3d")
    content = json.loads(data.datalist.read_text())
    content["channel_names"] = content["channel_names"][::-1]
    (tmp_path / "turned.json").write_text(json.dumps(content))
    asked = ["train", str(data.root), "--datalist", str(tmp_path / "turned.json")]
    assert main([*asked, "--plan", str(data.plan), "--output", str(tmp_path / "run")]) == 2
    assert "split with --channels FLAIR,T1,T1post,T2" in capsys.readouterr().err


def test_weights_of_one_channel_start_a_training_on_four(
    prepared: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = train(
        prepared("grey_3d"), tmp_path / "one", *by("pretrain", HEBBIAN), settings=(NETWORK,)
    )
    data = prepared("channels_3d")
    start = f"init_weights={one / 'model.pt'}"
    caplog.set_level("INFO", logger="monai_semiseg.networks")
    four = train(data, tmp_path / "four", *by("train", HEBBIAN), settings=(NETWORK, start))
    assert "kernels of 1 channel repeated for 4 and divided by 4" in caplog.text
    assert "missing" not in caplog.text
    check_network(data, four)


@pytest.mark.parametrize("kind", KINDS)
def test_overlays_of_inference(kind: str, prepared: Data, tmp_path: Path) -> None:
    data = prepared(kind)
    weights = train(data, tmp_path / "run", "train", settings=(NETWORK,))
    box, fusion = (overlay(BASELINES, name) for name in ("coarse_to_fine", "label_fusion"))
    atlases = ["--set", f"labelled_dir={data.root}", "--set", f"datalist={data.datalist}"]
    check_masks(data, weights, tmp_path / "box_masks", *box)
    check_scores(data, weights, tmp_path / "box_scores", *box)
    check_masks(data, weights, tmp_path / "fused_masks", *fusion, *atlases)
    check_scores(data, weights, tmp_path / "fused_scores", *fusion)


@pytest.mark.parametrize("kind", KINDS)
def test_a_diffusion_teacher_predicts(kind: str, prepared: Data, tmp_path: Path) -> None:
    data = prepared(kind)
    train(data, tmp_path, *by("train", DIFFUSION), settings=(NETWORK, TEACHER))
    words = [*overlay(DIFFUSION, "teacher"), "--set", TEACHER]
    check_masks(data, tmp_path / "teacher.pt", tmp_path / "masks", *words)
    check_scores(data, tmp_path / "teacher.pt", tmp_path / "scores", *words)
