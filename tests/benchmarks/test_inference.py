"""Throughput benchmark: all calls on equal scans, and counts of written files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from monai_semiseg.benchmarks import inference, inference_ways, random_images
from monai_semiseg.benchmarks.pseudo_labels import after_training, mean_dice, over_training, rows_of
from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.handlers.precision import has_instructions
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher
from monai_semiseg.networks.diffusion_unet import TimeConditionedUNet

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "semisupervised_baselines"


@pytest.mark.slow
def test_every_way_sees_every_scan(tmp_path: Path) -> None:
    random_images.write_scans(tmp_path / "scans", 2, (34, 40, 36))
    plain_settings = {"mirror_axes": [], "overlap": 0.25}
    rows = inference.compare(
        BUNDLE, tmp_path / "scans", inference_ways.ways_of(), plain_settings, tmp_path, repeat=2
    )
    expected = ["network alone", "folder run", "folder run, no previews", "plain MONAI loop"]
    native = has_instructions(torch.bfloat16, torch.device("cpu"))
    assert [row.name for row in rows] == [*expected, *(["folder run, bfloat16"] if native else [])]
    assert all(row.seconds > 0 for row in rows)
    ours = sorted((tmp_path / "1" / "folder_run").glob("*_seg.nii.gz"))
    plain = sorted((tmp_path / "1" / "plain_MONAI_loop").glob("*.nii.gz"))
    assert len(ours) == len(plain) == 2
    for a, b in zip(ours, plain, strict=True):  # the same masks, by both ways
        one, other = (np.asanyarray(nib.load(path).dataobj).squeeze() for path in (a, b))
        assert (one == other).mean() > 0.999


def test_every_way_sees_every_photograph(tmp_path: Path) -> None:
    random_images.write_photographs(tmp_path / "scans", 3, (48, 40))
    settings = {**random_images.photograph_settings(tmp_path), "patch_size": [64, 64]}
    ways = inference_ways.photograph_ways()
    rows = inference.compare(BUNDLE, tmp_path / "scans", ways, settings, tmp_path)
    assert [row.name for row in rows] == list(ways) and all(row.seconds > 0 for row in rows)
    for name, previews in (("folder_run", 3), ("folder_run,_no_previews", 0)):
        folder = tmp_path / "0" / name
        assert len(list(folder.glob("*_preview.jpg"))) == previews
        for number in range(3):
            mask = Image.open(folder / f"photo{number:05}_seg.png")
            assert (mask.mode, mask.size) == ("L", (48, 40))


def test_all_series_are_found(tmp_path: Path) -> None:
    assert inference.discovery(120, tmp_path).name == "120 DICOM files, 30 series"


@pytest.mark.parametrize("rounds", [0, 2])
def test_pseudo_labels_by_round(rounds: int) -> None:
    torch.manual_seed(0)
    nets = [TimeConditionedUNet(2, 4, outputs, (4, 4, 4, 4, 8, 4)) for outputs in (3, 1)]
    teacher = DiffusionTeacher(nets[0], nets[1], 3).eval()
    scan = {
        "image": torch.randn(1, 1, 32, 32),
        "label": torch.randint(0, 3, (1, 1, 32, 32)).float(),
    }
    rows = rows_of(teacher, [scan], rounds)
    assert [row[0] for row in rows] == list(range(rounds + 1))
    masks, _ = teacher.rounds(scan["image"], rounds, torch.Generator().manual_seed(0))
    assert rows[-1][1] == pytest.approx(mean_dice(masks[-1], scan["label"]))
    assert rows[0][1] == rows[0][2] and rows[0][3] == 1.0


@pytest.mark.slow
def test_pseudo_labels_over_a_training_that_is_not_disturbed(
    tmp_path: Path, write_dataset: Callable[..., Path]
) -> None:
    data = write_dataset(tmp_path / "data", shape=(34, 22, 20), sizes=(2, 2, 1))
    small = tmp_path / "small.yaml"
    features = [4, 4, 4, 4, 8, 4]
    small.write_text(
        yaml.safe_dump(
            {
                "teacher_features": features,
                "network_def#features": features,
                "patch_size": [48, 32, 32],  # more than a scan
                "epoch_iterations": 1,
                "rounds_every": 1,
            }
        )
    )
    args = argparse.Namespace(
        dataset=data,
        datalist=data / "datalist.json",
        bundle=ROOT / "bundles" / "diffusion_cotrainer",
        plan=[small],
        scans=2,
        rounds=1,
        steps=1,
        align=False,
        train=2,
        weights=None,
        output=tmp_path / "measured",
    )
    rows = over_training(args)
    assert [row[:2] for row in rows] == [[1, 0], [1, 1], [2, 0], [2, 1]]
    settings = {name: str(tmp_path / "plain") for name in ("ckpt_dir", "output_dir")}
    settings |= {"dataset_dir": str(data), "datalist": str(data / "datalist.json")}
    run_workflow(
        args.bundle,
        "train",
        {"iterations": 2, "device": "$torch.device('cpu')", **settings},
        [small],
    )
    for file in ("model.pt", "teacher.pt"):
        one, other = (
            torch.load(tmp_path / folder / file, weights_only=True)
            for folder in ("measured", "plain")
        )
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    args.weights = tmp_path / "measured" / "teacher.pt"
    for row, last in zip(after_training(args), rows[2:], strict=True):
        assert row[1:4] == pytest.approx(last[2:5])


def test_mean_dice_by_hand() -> None:
    label = torch.tensor([[0, 1, 1, 2, 2, 2]]).reshape(1, 1, 1, 6)
    found = (
        torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 2, 2, 0]), 3)
        .float()
        .T.reshape(1, 3, 1, 6)
    )
    assert mean_dice(found, label) == pytest.approx((2 * 1 / 3 + 2 * 2 / 6) / 2)
