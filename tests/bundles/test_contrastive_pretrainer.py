"""Contrastive stages through their configs: chained, resumable, without foreign labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.networks.nets import BasicUNet

from monai_semiseg.bundles.workflow import open_workflow, run_workflow

from .conftest import THREE_STEPS, require_refused

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE = ROOT / "contrastive_pretrainer"
BASELINES = ROOT / "semisupervised_baselines"
FEATURES = [4, 4, 6, 6, 8, 5]
STAGES = {"pretrain_global": 8, "pretrain_local": 5}
Raw = Callable[[Path, str], dict[str, Any]]
Settings = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_dataset: Write) -> Path:
    """Create data with a label for the unlabelled scan, which no stage may read."""
    return write_dataset(tmp_path_factory.mktemp("data"), secret=True)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return the settings of a small network and head by stage, data and folder."""
    small = {
        **THREE_STEPS,
        "init_weights": None,
        "dimension": 8,
        "network_def#features": FEATURES,
    }
    return lambda stage, data, folder, **more: settings(
        BUNDLE, stage, data, folder, **{**small, "channels": STAGES[stage], **more}
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.pt", weights_only=True)  # type: ignore[no-any-return]


def moved(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    return {key.split(".")[0] for key in a if not torch.equal(a[key], b[key])}


def test_stages_follow_each_other(data: Path, tmp_path: Path, settings: Settings) -> None:
    run_workflow(BUNDLE, "pretrain_global", settings("pretrain_global", data, tmp_path / "global"))
    first = weights(tmp_path / "global")
    start = {"init_weights": str(tmp_path / "global" / "model.pt")}
    run_workflow(
        BUNDLE, "pretrain_local", settings("pretrain_local", data, tmp_path / "local", **start)
    )
    second = weights(tmp_path / "local")
    assert {"conv_0", "down_4", "upcat_1"} <= moved(first, second) and "final_conv" not in moved(
        first, second
    )
    for state in (first, second):
        BasicUNet(3, 1, 3, FEATURES).load_state_dict(state)
    assert (tmp_path / "local" / "embeddings.png").is_file() and (
        tmp_path / "local" / "learning_curve.png"
    ).is_file()


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_resumed_gives_the_same_weights(
    stage: str, data: Path, tmp_path: Path, settings: Settings
) -> None:
    run_workflow(BUNDLE, stage, settings(stage, data, tmp_path / "whole"))
    broken = open_workflow(BUNDLE, stage, settings(stage, data, tmp_path / "broken"))
    broken.initialize()

    def stop(_: Engine) -> None:
        raise KeyboardInterrupt

    broken.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), stop)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    run_workflow(BUNDLE, stage, settings(stage, data, tmp_path / "broken", resume=True))
    assert not moved(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_no_label_but_the_training_scans_reaches_the_local_stage(
    data: Path, tmp_path: Path, settings: Settings, write_dataset: Write
) -> None:
    other = write_dataset(tmp_path / "other", secret=True)
    for n in (2, 3, 4):  # other labels wherever the local stage must not look
        noise = np.random.default_rng(n).integers(0, 3, (34, 30, 36)).astype(np.uint8)
        nib.save(nib.Nifti1Image(noise, np.eye(4)), other / "labels" / f"{n}.nii.gz")
    for name, where in (("a", data), ("b", other)):
        run_workflow(BUNDLE, "pretrain_local", settings("pretrain_local", where, tmp_path / name))
    assert not moved(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_the_global_stage_needs_no_label_at_all(
    data: Path, tmp_path: Path, settings: Settings, write_dataset: Write
) -> None:
    write_dataset(tmp_path, labelled=False)
    for name, where in (("with", data), ("without", tmp_path)):
        run_workflow(BUNDLE, "pretrain_global", settings("pretrain_global", where, tmp_path / name))
    assert not moved(weights(tmp_path / "with"), weights(tmp_path / "without"))


@pytest.mark.parametrize(
    "more",
    [{"block": 16, "stride": 1}, {"anchors": 20, "stride": 2}, {"form": "in", "stride": 4}],
    ids=str,
)
def test_ways_to_bound_the_cost(
    more: dict[str, Any], data: Path, tmp_path: Path, settings: Settings
) -> None:
    run_workflow(
        BUNDLE, "pretrain_local", settings("pretrain_local", data, tmp_path, iterations=1, **more)
    )
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_local_contrast_without_labels(data: Path, tmp_path: Path, settings: Settings) -> None:
    run_workflow(
        BUNDLE,
        "pretrain_local",
        settings("pretrain_local", data, tmp_path, stride=8),
        [BUNDLE / "configs" / "self_local.yaml"],
    )
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


@pytest.mark.parametrize(
    ("stage", "more", "words"),
    [
        ("pretrain_global", {"batch_size": 1}, "at least 2 scans"),
        ("pretrain_global", {"layer": "down_9"}, "no layer 'down_9'"),
        ("pretrain_global", {"channels": 5}, "set channels to 8"),
        ("pretrain_local", {"block": 99, "stride": 1}, "blocks of 99"),
        ("pretrain_local", {"stride": 0}, "stride 0"),
        ("pretrain_local", {"datalist": "nobody"}, "no scans to train on"),
        ("pretrain_local", {"out_channels": 2}, "label"),
        ("pretrain_local", {"init_weights": "gone.pt"}, "no weights found"),
    ],
    ids=str,
)
def test_bad_settings(
    stage: str, more: dict[str, Any], words: str, data: Path, tmp_path: Path, settings: Settings
) -> None:
    if more.get("datalist"):
        empty = tmp_path / "empty.json"
        empty.write_text(json.dumps({"training": [], "unlabeled": []}))
        more = {"datalist": str(empty)}
    require_refused(BUNDLE, stage, settings(stage, data, tmp_path / "run", **more), words)


def test_training_is_the_baselines(raw: Raw) -> None:
    for file in ("train", "evaluate", "inference", "multi_gpu_train"):
        ours, theirs = (raw(bundle, file) for bundle in (BUNDLE, BASELINES))
        assert ours == theirs
