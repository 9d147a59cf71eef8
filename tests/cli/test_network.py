"""Another network by --network: pretrained without labels, trained from that start, used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_semiseg.cli.main import main

SMALL = ["--iterations", "1", "--device", "cpu", "--set", "num_workers=0"]
DYNUNET = (
    "DynUNet(kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], "
    "filters=[4, 8, 8], deep_supervision=True)"
)


@pytest.fixture(scope="module")
def dataset(write_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), scans=4)


@pytest.fixture(scope="module")
def start(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a Hebbian start of a DynUNet."""
    folder = tmp_path_factory.mktemp("start")
    words = ["pretrain", str(dataset), "--output", str(folder), "--network", DYNUNET, *SMALL]
    assert main([*words, "--bundle", "hebbian_initializer"]) == 0
    return folder


@pytest.mark.slow
def test_from_a_start_to_masks(
    dataset: Path, start: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, masks = tmp_path / "run", tmp_path / "masks"
    words = ["train", str(dataset), "--output", str(run), "--network", DYNUNET, *SMALL]
    plan = ["--plan", str(start / "plan.yaml"), "--datalist", str(start / "datalist.json")]
    assert main([*words, *plan, "--init_weights", str(start / "model.pt")]) == 0
    recorded = json.loads((run / "model.json").read_text())["settings"]["network_def"]
    assert recorded["_target_"] == "DynUNet" and recorded["filters"] == [4, 8, 8]
    scan = next((dataset / "images").iterdir())
    assert main(["predict", str(scan), "--weights", str(run), "--output", str(masks)]) in (0, 5)
    assert len(list(masks.rglob("*.nii.gz"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bundle", "stage"),
    [
        ("contrastive_pretrainer", "global"),
        ("contrastive_pretrainer", "local"),
        ("diffusion_cotrainer", None),
    ],
)
def test_other_stages(
    bundle: str,
    stage: str | None,
    dataset: Path,
    start: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = ["pretrain", str(dataset), "--output", str(tmp_path), "--network", DYNUNET, *SMALL]
    plan = ["--plan", str(start / "plan.yaml"), "--datalist", str(start / "datalist.json")]
    asked = [] if stage is None else ["--stage", stage]
    assert main([*words, *plan, "--bundle", bundle, *asked]) == 0
    assert "of the weights were learnt" in caplog.text
    before, after = (
        torch.load(folder / "model.pt", weights_only=True) for folder in (start, tmp_path)
    )
    assert before.keys() == after.keys()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("SegResNett", "did you mean SegResNet"),
        ("SegResNet(filters=4)", "has no argument 'filters'"),
        ("torch.nn.Conv3d", "needs values for kernel_size"),
    ],
)
def test_a_wrong_network_stops_before_anything_is_written(
    network: str, words: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", str(dataset), "--output", str(tmp_path / "run"), "--network", network]
    assert main([*asked, *SMALL]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_patch_that_does_not_fit_stops_before_the_training(
    dataset: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", str(dataset), "--output", str(tmp_path / "run"), "--network", "SwinUNETR"]
    plan = ["--plan", str(start / "plan.yaml"), "--datalist", str(start / "datalist.json")]
    assert main([*asked, *plan, *SMALL, "--set", "patch_size=[40,32,40]"]) == 2
    message = capsys.readouterr().err
    assert "SwinUNETR does not take patches of 40 x 32 x 40" in message
    assert "--set patch_size=[64,32,64]" in message
    assert not (tmp_path / "run").exists()
