"""nnU-Net in and out: its plans for ``--network``, its folders for ``--weights``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_semiseg.cli.main import main
from monai_semiseg.networks.nnunet import nnunet_network
from monai_semiseg.networks.weights import load_weights
from tests.nnunet_builders import (
    architecture,
    dataset_content,
    plans_content,
    write_checkpoint,
    write_folder,
)
from tests.nnunet_commands import FIRST_PASS, TRAINER

pytest.importorskip("nnunetv2")
ROOT = Path(__file__).resolve().parents[2]
CPU = ["--device", "cpu"]
FEW = ["--iterations", "2", "--set", "num_workers=0", *CPU]


def _blobs(folder: Path, count: int, channels: tuple[str, ...] = ("MRI",)) -> Path:
    """Write a dataset in nnU-Net's layout: balls in noise, on grids of two orientations."""
    rng = np.random.default_rng(0)
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        shape = (17 + number % 3, 20, 16)
        where = np.indices(shape) - rng.uniform(7, 10, 3)[:, None, None, None]
        ball = (where**2).sum(0) < rng.uniform(3, 5) ** 2
        affine = np.diag([-1.0 if number % 2 else 1.0, 1.1, 1.2 + 0.3 * (number % 2), 1.0])
        for part in ("imagesTr", "imagesTs") if number < 2 else ("imagesTr",):
            for channel in range(len(channels)):
                voxels = (ball * 80 + rng.normal(100, 10, shape)).astype(np.float32)
                file = folder / part / f"b{number:02}_{channel:04}.nii.gz"
                nib.save(nib.Nifti1Image(voxels, affine), file)
        label = folder / "labelsTr" / f"b{number:02}.nii.gz"
        nib.save(nib.Nifti1Image(ball.astype(np.uint8), affine), label)
    content = dataset_content(
        channel_names={str(n): name for n, name in enumerate(channels)}, numTraining=count
    )
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write six cases of one channel."""
    return _blobs(tmp_path_factory.mktemp("blobs") / "Dataset001_Blobs", 6)


def _pretrain(dataset: Path, network: Path | str, output: Path, *more: str) -> int:
    where = ["--network", str(network), "--output", str(output)]
    return main(["pretrain", str(dataset), "--bundle", "hebbian_initializer", *where, *FEW, *more])


def test_plans_pretrain_their_network_on_their_grid(blobs: Path, tmp_path: Path) -> None:
    plans = write_folder(tmp_path, name="nnUNetPlans.json")
    assert _pretrain(blobs, plans, tmp_path / "out") == 0
    written = torch.load(tmp_path / "out" / "nnunet_pretrained.pth", weights_only=True)
    network = nnunet_network(architecture(), 1, 2)
    network.load_state_dict(written["network_weights"], strict=True)
    used = json.loads((tmp_path / "out" / "nnunet.json").read_text())
    assert (used["patch_size"], used["spacing"]) == ([8, 16, 12], [2.0, 1.5, 1.0])
    (steps,) = (value for key, value in used.items() if key.endswith("#transforms"))
    kinds = [step["_target_"].rsplit(".", 1)[-1] for step in steps]
    assert kinds == ["LoadImaged", "EnsureChannelFirstd", "NnunetPreprocessd", "SpatialPadd"]


def _preprocessed(folder: Path) -> Path:
    """Write three images as nnU-Net preprocesses them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        np.savez(folder / f"{number}.npz", data=rng.normal(size=(1, 4, 18, 14)).astype(np.float32))
    return folder


def test_a_preprocessed_folder_needs_no_label(tmp_path: Path) -> None:
    plans = write_folder(tmp_path, name="nnUNetPlans.json")
    folder = _preprocessed(tmp_path / "nnUNetPlans_2d")
    assert _pretrain(folder, f"{plans}:2d", tmp_path / "out") == 0
    written = torch.load(tmp_path / "out" / "nnunet_pretrained.pth", weights_only=True)
    assert written["network_weights"]["encoder.stages.0.0.convs.0.conv.weight"].ndim == 4


@pytest.mark.parametrize(
    "verb",
    [["train"], ["pretrain", "--bundle", "contrastive_pretrainer", "--stage", "local"]],
    ids=["train", "local"],
)
def test_a_stage_with_labels_refuses_a_preprocessed_folder(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = write_folder(tmp_path, name="nnUNetPlans.json")
    folder = _preprocessed(tmp_path / "nnUNetPlans_2d")
    where = ["--network", f"{plans}:2d", "--output", str(tmp_path / "out"), *FEW]
    assert main([verb[0], str(folder), *verb[1:], *where]) == 2
    assert "can only be used without labels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _primus() -> dict[str, Any]:
    content = plans_content()
    content["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "a.PrimusM"
    return content


@pytest.mark.parametrize(
    ("plans", "name", "found"),
    [
        ({"plans_per_stage": {}}, "", "plans of nnU-Net v1"),
        (plans_content(), ":3d_lowres", "2d, 3d_fullres"),
        (_primus(), "", "has a PrimusM"),
        (plans_content(channels=2), "", "dataset.json names 1 channels"),
    ],
    ids=["version", "configuration", "primus", "channels"],
)
def test_plans_that_cannot_be_used_stop_before_any_file(
    blobs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    plans: dict[str, Any],
    name: str,
    found: str,
) -> None:
    file = write_folder(tmp_path, plans, name="nnUNetPlans.json")
    assert _pretrain(blobs, f"{file}{name}", tmp_path / "out") == 2
    assert found in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--config", "--plan", "--init_weights"])
def test_a_file_that_is_not_there_stops_before_any_file(
    option: str, blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = write_folder(tmp_path, name="nnUNetPlans.json")
    absent = str(tmp_path / "absent.yaml")
    assert _pretrain(blobs, plans, tmp_path / "out", option, absent) == 2
    assert f"{absent}: no such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_order_of_channels_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = _blobs(tmp_path / "Dataset001_Two", 2, ("T1", "FLAIR"))
    named = dataset_content(channel_names={"0": "FLAIR", "1": "T1"})
    plans = write_folder(tmp_path, plans_content(channels=2), named, "nnUNetPlans.json")
    assert _pretrain(dataset, plans, tmp_path / "out") == 2
    assert "E_CHANNELS" in (error := capsys.readouterr().err)
    assert "FLAIR, T1: those of the plans' dataset.json, in this order" in error
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model with weights as they were drawn, which mirrors two axes."""
    folder = tmp_path_factory.mktemp("model")
    write_folder(folder)
    torch.manual_seed(0)
    weights = nnunet_network(architecture(), 1, 2).state_dict()
    write_checkpoint(folder, weights, inference_allowed_mirroring_axes=(0, 2))
    return folder


def _predict(scans: Path, weights: Path | str, output: Path) -> int:
    where = ["--weights", str(weights), "--output", str(output)]
    return main(["predict", str(scans), *where, *CPU, "--no_preview", "--uncertainty"])


def test_a_folder_of_nnunet_segments_as_nnunet_does(
    blobs: Path, model: Path, tmp_path: Path
) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    assert _predict(blobs / "imagesTs", f"{model}:0", tmp_path) == 0
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    settings = predictor.initialize_from_trained_model_folder
    with pytest.MonkeyPatch.context() as patch:  # of all trainers, only the default is at hand
        name = "nnunetv2.inference.predict_from_raw_data.recursive_find_trainer_class_by_name"
        patch.setattr(name, _default_trainer)
        settings(str(model), (0,))
    for scan in sorted((blobs / "imagesTs").iterdir()):
        array, properties = SimpleITKIO().read_images([str(scan)])
        theirs = predictor.predict_single_npy_array(array, properties).transpose(2, 1, 0)
        (file,) = (
            path
            for path in tmp_path.rglob(f"{scan.name.split('.')[0]}*.nii.gz")
            if "uncertainty" not in path.name
        )
        ours = np.asarray(nib.load(file).dataobj)
        assert 0.01 < theirs.mean() < 0.99
        assert (ours != theirs).mean() <= 0.001
        np.testing.assert_allclose(nib.load(file).affine, nib.load(scan).affine)


def _default_trainer(_: str) -> Any:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    return nnUNetTrainer


@pytest.mark.parametrize("name", ["label_fusion", "coarse_to_fine"])
def test_a_config_of_steps_that_nnunet_decides_is_refused(
    name: str, blobs: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ROOT / "bundles" / "semisupervised_baselines" / "configs" / f"{name}.yaml"
    words = ["predict", str(blobs / "imagesTs"), "--weights", str(model), "--config", str(config)]
    assert main([*words, "--output", str(tmp_path / "out"), *CPU]) == 2
    error = capsys.readouterr().err
    assert f"{name}.yaml" in error and "which nnU-Net's plans decide" in error
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_write_nothing(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "model")
    other = architecture()
    other["arch_kwargs"]["n_conv_per_stage"] = [2, 1]
    write_checkpoint(tmp_path / "model", nnunet_network(other, 1, 2).state_dict())
    assert _predict(blobs / "imagesTs", tmp_path / "model", tmp_path / "out") == 2
    assert "tensors do not fit the plans' network, the first are" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_training_from_a_model_of_nnunet_is_evaluated_as_it_was_trained(
    blobs: Path, model: Path, tmp_path: Path
) -> None:
    start = ["--network", f"{model}/plans.json", "--init_weights", f"{model}:0"]
    run = ["--labelled", "2", "--output", str(tmp_path / "run")]
    assert main(["train", str(blobs), *start, *run, *FEW]) == 0
    record = json.loads((tmp_path / "run" / "model.json").read_text())["settings"]
    assert record["nnunet"]["configuration"] == "3d_fullres"
    for weights in (tmp_path / "run", model):
        output = tmp_path / f"of_{weights.name}"
        where = ["--datalist", str(tmp_path / "run" / "datalist.json"), "--output", str(output)]
        assert main(["evaluate", str(blobs), *where, "--weights", str(weights), *CPU]) == 0
        assert json.loads((output / "metrics.json").read_text())["cases"] > 0


@pytest.fixture
def nnunet(tmp_path: Path) -> Callable[..., None]:
    """Run commands of nnU-Net, one after another in one process."""

    def run(*commands: str) -> None:
        program = [sys.executable, str(ROOT / "tests" / "nnunet_commands.py"), str(tmp_path)]
        found = subprocess.run(
            [*program, *commands], capture_output=True, text=True, env={**os.environ}, timeout=600
        )
        assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]

    return run


def _with_few_features(plans: Path) -> Path:
    """Make the network of plans small enough for a test."""
    content = json.loads(plans.read_text())
    arguments = content["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments["features_per_stage"] = [4 * 2**n for n in range(arguments["n_stages"])]
    plans.write_text(json.dumps(content))
    return plans


@pytest.mark.slow
def test_nnunet_plans_trains_and_predicts_with_what_is_made_here(
    tmp_path: Path, nnunet: Callable[..., None]
) -> None:
    raw = _blobs(tmp_path / "raw" / "Dataset001_Blobs", 12)
    nnunet("nnUNetv2_plan_and_preprocess -d 1 -np 1 -npfp 1 -c 3d_fullres")
    folder = tmp_path / "preprocessed" / "Dataset001_Blobs"
    plans = _with_few_features(folder / "nnUNetPlans.json")
    assert _pretrain(folder / "nnUNetPlans_3d_fullres", plans, tmp_path / "start") == 0

    start = tmp_path / "start" / "nnunet_pretrained.pth"
    of_model = f"-tr {TRAINER} -device cpu"
    scans = f"-i {raw / 'imagesTs'} -o {tmp_path / 'theirs'} -npp 0 -nps 0"
    nnunet(
        f"nnUNetv2_train 1 3d_fullres 0 {of_model} -pretrained_weights {start}",
        f"nnUNetv2_predict -d 1 -c 3d_fullres -f 0 {scans} {of_model}",
    )
    first = torch.load(tmp_path / "results" / FIRST_PASS, weights_only=True)
    content = json.loads(plans.read_text())["configurations"]["3d_fullres"]
    ours = nnunet_network(content["architecture"], 1, 2, deep_supervision=True)
    load_weights(ours, tmp_path / "start" / "model.pt", strict=True)
    ours.load_state_dict(first["heads"], strict=False)
    with torch.no_grad():
        outputs = ours(first["data"])
    for mine, theirs in zip(outputs, first["outputs"], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)

    result = tmp_path / "results" / "Dataset001_Blobs" / f"{TRAINER}__nnUNetPlans__3d_fullres"
    where = ["--weights", f"{result}:0", "--output", str(tmp_path / "ours")]
    code = main(["predict", str(raw / "imagesTs"), *where, *CPU, "--no_preview"])
    assert code in (0, 5)  # 5: masks of so short a training may be flagged
    for file in sorted((tmp_path / "theirs").glob("*.nii.gz")):
        (mask,) = (tmp_path / "ours").rglob(f"{file.name.split('.')[0]}*.nii.gz")
        expected = np.asarray(nib.load(file).dataobj)
        assert 0 < expected.mean() < 1
        assert (np.asarray(nib.load(mask).dataobj) != expected).mean() <= 0.001
