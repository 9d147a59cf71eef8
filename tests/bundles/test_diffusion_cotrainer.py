"""Diffusion stages through their configs: chained, resumable, without labels where stated."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.networks.nets import BasicUNet

from monai_semiseg.bundles.workflow import open_workflow, run_workflow

from .conftest import SHAPE, THREE_STEPS, require_refused

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE = ROOT / "diffusion_cotrainer"
BASELINES = ROOT / "semisupervised_baselines"
FEATURES = [4, 4, 6, 6, 8, 5]
Raw = Callable[[Path, str], dict[str, Any]]
Settings = Callable[..., dict[str, Any]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return the settings of small student and teacher networks by stage, data and folder."""
    small = {
        **THREE_STEPS,
        "rounds_every": 1,
        "teacher_features": FEATURES,
        "network_def#features": FEATURES,
    }
    return lambda stage, data, folder, **more: settings(
        BUNDLE, stage, data, folder, **{**small, **more}
    )


def weights(folder: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return torch.load(folder / f"{name}.pt", weights_only=True)  # type: ignore[no-any-return]


def differs(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    return {key.split(".")[0] for key in a if not torch.equal(a[key], b[key])}


def test_stages_follow_each_other(
    data: Path, tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    run_workflow(BUNDLE, "pretrain", settings("pretrain", data, tmp_path / "pre"))
    start = {"teacher_weights": str(tmp_path / "pre" / "model.pt")}
    with caplog.at_level(logging.INFO):
        run_workflow(BUNDLE, "train", settings("train", data, tmp_path / "co", **start))
    assert "the teacher's classes" in caplog.text
    BasicUNet(3, 1, 3, FEATURES).load_state_dict(
        weights(tmp_path / "co")
    )  # the student is a stock network
    assert differs(weights(tmp_path / "pre"), weights(tmp_path / "co", "teacher")) == {
        "mask_network",
        "image_network",
    }
    assert (tmp_path / "co" / "learning_curve.png").is_file()


@pytest.mark.parametrize(
    ("stage", "overlays"),
    [
        ("pretrain", []),
        ("train", ["cached"]),
        ("train", []),
        ("train", ["slices", "cached"]),
    ],
)
@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_weights(
    stage: str, overlays: list[str], data: Path, tmp_path: Path, settings: Settings
) -> None:
    traces: dict[str, list[float]] = {"whole": [], "broken": []}
    files = [BUNDLE / "configs" / f"{name}.yaml" for name in overlays]

    def run(name: str, stop: int | None, **more: Any) -> None:
        asked = settings(stage, data, tmp_path / name, **more)
        if "cached" in overlays:
            asked["refresh_every"] = 2  # at iterations 1 and 3, and killed after 2
        if "slices" in overlays:
            asked = {
                key: value
                for key, value in asked.items()
                if key not in ("spatial_dims", "patch_size")
            }
        workflow = open_workflow(BUNDLE, stage, asked, files)
        workflow.initialize()

        def note(engine: Engine) -> None:
            if engine.state.iteration == stop:
                raise KeyboardInterrupt
            traces[name].append(float(engine.state.output["loss"]))

        workflow.trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
        workflow.run()

    run("whole", None)
    with pytest.raises(KeyboardInterrupt):
        run("broken", 3)
    run("broken", None, resume=True)
    assert traces["whole"] == traces["broken"] and len(traces["whole"]) == 3
    names = ["model"] if stage == "pretrain" else ["model", "teacher"]
    assert not any(
        differs(weights(tmp_path / "whole", n), weights(tmp_path / "broken", n)) for n in names
    )


def test_no_label_reaches_the_first_stage(
    data: Path, tmp_path: Path, settings: Settings, write_dataset: Callable[..., Path]
) -> None:
    write_dataset(tmp_path / "none", shape=SHAPE, labelled=False)
    for name, where in (("with", data), ("without", tmp_path / "none")):
        run_workflow(BUNDLE, "pretrain", settings("pretrain", where, tmp_path / f"run_{name}"))
    assert not differs(weights(tmp_path / "run_with"), weights(tmp_path / "run_without"))


@pytest.mark.slow
def test_batches_have_sizes_of_their_own(data: Path, tmp_path: Path, settings: Settings) -> None:
    workflow = open_workflow(
        BUNDLE, "train", settings("train", data, tmp_path, unlabelled_batch_size=3)
    )
    workflow.initialize()
    seen: list[dict[str, tuple[int, ...]]] = []
    trainer = workflow.trainer
    real = trainer.losses
    trainer.losses = lambda batch: (
        seen.append({k: len(v) for k, v in batch.items()}),
        real(batch),
    )[1]
    workflow.run()
    assert seen[0] == {"image": 2, "label": 2, "weak": 3, "strong": 3} and len(seen) == 3


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.slow
def test_rounds_are_a_setting(rounds: int, data: Path, tmp_path: Path, settings: Settings) -> None:
    run_workflow(
        BUNDLE, "train", settings("train", data, tmp_path, rounds=rounds, sampling_steps=2)
    )
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


@pytest.mark.slow
def test_the_teacher_can_be_the_product(data: Path, tmp_path: Path, settings: Settings) -> None:
    """Check that the evaluated teacher gives the same masks every time."""
    run_workflow(BUNDLE, "train", settings("train", data, tmp_path))
    overlay = [BUNDLE / "configs" / "teacher.yaml"]
    scores = []
    for _ in range(2):
        asked = settings(
            "evaluate", data, tmp_path / "scores", ckpt_path=str(tmp_path / "teacher.pt")
        )
        asked |= {"teacher_features": FEATURES, "samples": 2}  # known to the overlay
        del asked["network_def#features"]  # the overlay's network has none
        run_workflow(BUNDLE, "evaluate", asked, overlay)
        scores.append((tmp_path / "scores" / "metrics.csv").read_text())
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("stage", "more", "words"),
    [
        ("train", {"datalist": {"training": [], "unlabeled": [0]}}, "no scans to train on"),
        (
            "train",
            {"datalist": {"training": [1], "unlabeled": []}},
            "at least one entry under unlabeled",
        ),
        ("train", {"rounds": -1}, "rounds -1"),
        ("train", {"unlabelled_batch_size": 0}, "unlabelled_batch_size 0"),
        ("train", {"teacher_weights": "gone.pt"}, "no weights found"),
        ("pretrain", {"datalist": {"training": [], "unlabeled": []}}, "no image"),
        ("pretrain", {"sampling_steps": 0}, "steps 0"),
    ],
    ids=str,
)
def test_bad_settings(
    stage: str, more: dict[str, Any], words: str, data: Path, tmp_path: Path, settings: Settings
) -> None:
    if "datalist" in more:
        kinds = {
            0: {"image": str(data / "images" / "2.nii.gz")},
            1: {name: str(data / f"{name}s" / "0.nii.gz") for name in ("image", "label")},
        }
        content = {
            section: [kinds[kind] for kind in entries]
            for section, entries in more["datalist"].items()
        }
        (tmp_path / "list.json").write_text(json.dumps({**content, "validation": [], "test": []}))
        more = {"datalist": str(tmp_path / "list.json")}
    require_refused(BUNDLE, stage, settings(stage, data, tmp_path / "run", **more), words)


def test_training_differs_from_the_baselines_in_what_the_method_needs(raw: Raw) -> None:
    for file in ("evaluate", "inference"):
        ours, theirs = (raw(bundle, file) for bundle in (BUNDLE, BASELINES))
        assert ours == theirs
    ours, theirs = (raw(bundle, "train") for bundle in (BUNDLE, BASELINES))
    different = {
        key for key in ours.keys() | theirs.keys() if ours.get(key, "-") != theirs.get(key, "-")
    }
    assert different == {
        "imports",
        "teacher_weights",
        "unlabelled_batch_size",
        "rounds",
        "rounds_every",
        "round_level",
        "own_share",
        "labelled_boxes",
        "iterations",
        "sampling_steps",
        "teacher_features",
        "ema_network_def",
        "ema_network",
        "diffusion_teacher_def",
        "diffusion_teacher",
        "optimizer",
        "train",
        "ema_momentum",
        "teacher_momentum",
    }
    inner = {key for key in ours["train"] if ours["train"][key] != theirs["train"][key]}
    assert inner == {"paired_samples", "dataloader", "handlers", "checkpoint", "trainer"}
