"""The verb export on the bundles' weights and their sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_semiseg.bundles.record import write_record
from monai_semiseg.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SCAN = ROOT / "sample_data" / "scans" / "plain.nii"
BUNDLES = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/models/model.pt"))


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_bundle_on_the_sample(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = ROOT / "bundles" / bundle, tmp_path / "model.ts"
    words = ["--bundle", str(folder), "--image", str(SCAN), "--output", str(file)]
    assert main(["export", "--format", "torchscript", *words]) == 0
    assert "largest difference" in capsys.readouterr().out
    config = json.loads((folder / "configs" / "inference.json").read_text())
    network = ConfigParser(config).get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(file)(image), network(image))


def test_a_2d_training_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = ConfigParser(
        {
            "network_def": {
                "_target_": "SegResNet",
                "spatial_dims": 2,
                "in_channels": 2,
                "out_channels": 3,
            },
        }
    )
    torch.save(parser.get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    settings = {**parser.get(), "spatial_dims": 2, "in_channels": 2, "patch_size": [32, 24]}
    write_record(tmp_path / "model.pt", settings, "semisupervised_baselines")
    out = tmp_path / "m.safetensors"
    words = ["--weights", str(tmp_path), "--format", "safetensors", "--output", str(out)]
    assert main(["export", *words]) == 0
    assert "largest difference 0" in capsys.readouterr().out and out.is_file()


def test_no_weights(tmp_path: Path) -> None:
    words = ["--weights", str(tmp_path), "--format", "torchscript"]
    assert main(["export", *words, "--output", str(tmp_path / "m.ts")]) == 2
    assert not list(tmp_path.iterdir())
