"""The diffusion stages through their configs: chained, resumable, blind to labels where they say so."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.networks.nets import BasicUNet
from monai.utils import set_determinism

from monai_semiseg.errors import ConfigError, root_cause
from monai_semiseg.inference.workflow import open_workflow, run_workflow

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE, BASELINES = ROOT / "diffusion_cotrainer", ROOT / "semisupervised_baselines"
FEATURES = [4, 4, 6, 6, 8, 5]
NETWORK = {"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "features": FEATURES}


def write(root: Path, labels: int = 5) -> Path:
    """Five scans, ``labels`` of them with labels; training has two, validation and test one each."""
    rng = np.random.default_rng(0)
    for n in range(5):
        label = np.zeros((34, 30, 36), np.uint8)
        label[6:16, 8:20, 5:20], label[16:24, 8:20, 5:15] = 1, 2
        image = (rng.normal(size=label.shape) + 3 * label).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), root / f"image{n}.nii")
        if n < labels:
            nib.save(nib.Nifti1Image(label, np.eye(4)), root / f"label{n}.nii")
    pairs = [{"image": f"image{n}.nii", **({"label": f"label{n}.nii"} if n < labels else {})} for n in range(5)]
    content = {"training": pairs[:2], "unlabeled": [{"image": "image2.nii"}], "validation": pairs[3:4],
               "test": pairs[4:]}  # fmt: skip
    (root / "datalist.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def leave_determinism() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    set_determinism(None)


def settings(stage: str, data: Path, folder: Path, **more: Any) -> dict[str, Any]:
    small = {"patch_size": [32, 32, 32], "iterations": 3, "epoch_iterations": 1, "batch_size": 2, "num_workers": 0,
             "teacher_features": FEATURES, "device": "$torch.device('cpu')"}  # fmt: skip
    student = {"network_def": NETWORK, "rounds_every": 1} if stage == "train" else {}
    return {"dataset_dir": str(data), "ckpt_dir": str(folder), "output_dir": str(folder), **small, **student, **more}


def weights(folder: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return torch.load(folder / f"{name}.pt", weights_only=True)  # type: ignore[no-any-return]


def differs(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    return {key.split(".")[0] for key in a if not torch.equal(a[key], b[key])}


def test_stages_follow_each_other(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_workflow(BUNDLE, "pretrain", settings("pretrain", data, tmp_path / "pre"))
    start = {"teacher_weights": str(tmp_path / "pre" / "model.pt")}
    with caplog.at_level(logging.INFO):
        run_workflow(BUNDLE, "train", settings("train", data, tmp_path / "co", **start))
    assert "the teacher's classes" in caplog.text
    BasicUNet(3, 1, 3, FEATURES).load_state_dict(weights(tmp_path / "co"))  # the student is a stock network
    assert differs(weights(tmp_path / "pre"), weights(tmp_path / "co", "teacher")) == {"mask_network", "image_network"}
    assert (tmp_path / "co" / "learning_curve.png").is_file()


@pytest.mark.parametrize("stage", ["pretrain", "train"])
def test_killed_and_resumed_gives_the_same_weights(stage: str, data: Path, tmp_path: Path) -> None:
    traces: dict[str, list[float]] = {"whole": [], "broken": []}

    def run(name: str, stop: int | None, **more: Any) -> None:
        workflow = open_workflow(BUNDLE, stage, settings(stage, data, tmp_path / name, **more))
        workflow.initialize()

        def note(engine: Engine) -> None:
            if engine.state.iteration == stop:
                raise KeyboardInterrupt
            traces[name].append(float(engine.state.output["loss"]))

        workflow.trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
        workflow.run()

    run("whole", None)
    with pytest.raises(BaseException, match=""):
        run("broken", 3)
    run("broken", None, resume=True)
    assert traces["whole"] == traces["broken"] and len(traces["whole"]) == 3
    names = ["model"] if stage == "pretrain" else ["model", "teacher"]
    assert not any(differs(weights(tmp_path / "whole", n), weights(tmp_path / "broken", n)) for n in names)


def test_no_label_reaches_the_first_stage(data: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    write(tmp_path / "none", labels=0)
    for name, where in (("with", data), ("without", tmp_path / "none")):
        run_workflow(BUNDLE, "pretrain", settings("pretrain", where, tmp_path / f"run_{name}"))
    assert not differs(weights(tmp_path / "run_with"), weights(tmp_path / "run_without"))


def test_batches_have_sizes_of_their_own(data: Path, tmp_path: Path) -> None:
    workflow = open_workflow(BUNDLE, "train", settings("train", data, tmp_path, unlabelled_batch_size=3))
    workflow.initialize()
    seen: list[dict[str, tuple[int, ...]]] = []
    trainer = workflow.trainer
    real = trainer.losses
    trainer.losses = lambda batch: (seen.append({k: len(v) for k, v in batch.items()}), real(batch))[1]
    workflow.run()
    assert seen[0] == {"image": 2, "label": 2, "weak": 3, "strong": 3} and len(seen) == 3


@pytest.mark.parametrize("rounds", [0, 2])
def test_rounds_are_a_setting(rounds: int, data: Path, tmp_path: Path) -> None:
    run_workflow(BUNDLE, "train", settings("train", data, tmp_path, rounds=rounds, sampling_steps=2))
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_the_teacher_can_be_the_product(data: Path, tmp_path: Path) -> None:
    """Evaluated in place of the student, it gives the same masks every time."""
    run_workflow(BUNDLE, "train", settings("train", data, tmp_path))
    overlay = [BUNDLE / "configs" / "teacher.yaml"]
    scores = []
    for _ in range(2):
        asked = {"dataset_dir": str(data), "ckpt_path": str(tmp_path / "teacher.pt"), "patch_size": [32, 32, 32],
                 "output_dir": str(tmp_path / "scores"), "teacher_features": FEATURES, "samples": 2,
                 "device": "$torch.device('cpu')"}  # fmt: skip
        run_workflow(BUNDLE, "evaluate", asked, overlay)
        scores.append((tmp_path / "scores" / "metrics.csv").read_text())
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("stage", "more", "words"),
    [
        ("train", {"datalist": {"training": [], "unlabeled": [0]}}, "no scans to train on"),
        ("train", {"datalist": {"training": [1], "unlabeled": []}}, "at least one entry under unlabeled"),
        ("train", {"rounds": -1}, "rounds -1"),
        ("train", {"unlabelled_batch_size": 0}, "unlabelled_batch_size 0"),
        ("train", {"teacher_weights": "gone.pt"}, "no weights there"),
        ("pretrain", {"datalist": {"training": [], "unlabeled": []}}, "no image"),
        ("pretrain", {"sampling_steps": 0}, "steps 0"),
    ],
    ids=str,
)
def test_bad_settings(stage: str, more: dict[str, Any], words: str, data: Path, tmp_path: Path) -> None:
    if "datalist" in more:
        kinds = {0: {"image": str(data / "image2.nii")},
                 1: {"image": str(data / "image0.nii"), "label": str(data / "label0.nii")}}  # fmt: skip
        content = {section: [kinds[kind] for kind in entries] for section, entries in more["datalist"].items()}
        (tmp_path / "list.json").write_text(json.dumps({**content, "validation": [], "test": []}))
        more = {"datalist": str(tmp_path / "list.json")}
    with pytest.raises(Exception, match="") as caught:
        run_workflow(BUNDLE, stage, settings(stage, data, tmp_path / "run", **more))
    cause = root_cause(caught.value)
    assert (words in str(cause) and isinstance(cause, ConfigError)) or "E_" in str(cause)
    assert not (tmp_path / "run" / "model.pt").exists()


def test_training_differs_from_the_baselines_in_what_the_method_needs() -> None:
    for file in ("evaluate", "inference"):
        ours, theirs = (json.loads((b / "configs" / f"{file}.json").read_text()) for b in (BUNDLE, BASELINES))
        assert ours == theirs
    ours, theirs = (json.loads((b / "configs" / "train.json").read_text()) for b in (BUNDLE, BASELINES))
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key, "-") != theirs.get(key, "-")}
    assert different == {
        "imports", "teacher_weights", "unlabelled_batch_size", "rounds", "rounds_every", "round_level",
        "student_share", "iterations", "sampling_steps", "teacher_features", "average_def", "average", "product",
        "teacher_def", "teacher", "optimizer", "train", "average_momentum", "teacher_momentum",
    }  # fmt: skip
    inner = {key for key in ours["train"] if ours["train"][key] != theirs["train"][key]}
    assert inner == {"paired_draws", "dataloader", "handlers", "checkpoint", "trainer"}
