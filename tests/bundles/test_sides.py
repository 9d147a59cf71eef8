"""Classes with sides: from plan to mask, nothing mirrors their scans."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser

from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.cli.main import main

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE = ROOT / "semisupervised_baselines"
CONFIGS = sorted(ROOT.glob("*/configs/**/*.json")) + sorted(ROOT.glob("*/configs/**/*.yaml"))


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping within a config."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: f"{file.parts[-3]}-{file.name}")
def test_every_mirror_asks_for_sides(file: Path) -> None:
    """Check that scans whose classes have sides are not mirrored, with any other settings."""
    for node in nodes(ConfigParser.load_config_file(file)):
        target = str(node.get("_target_", "")).rsplit(".", 1)[-1]
        assert target not in ("RandAxisFlipd", "RandRotate90d", "Flipd", "RandFlip"), target
        if target == "RandFlipd" and node["spatial_axis"] == 0:
            assert node["prob"] == "$0.0 if @sides else @flip_left_right"
        if target == "TTAInferer":
            assert node["axes"] == "$[] if @sides else @mirror_axes"


@pytest.mark.parametrize("sides", [True, False])
def test_what_mirrors_obeys(bundle: Path, sides: bool) -> None:
    """Check that an old plan without ``sides`` is accepted, and ``sides=true`` overrides it."""
    more = {"sides": sides, "bundle_root": str(bundle)}
    for name, key in (("inference", "inferer"), ("evaluate", "inferer")):
        parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / f"{name}.json"))
        parser.update({**more, "mirror_axes": [0]})
        assert len(parser.get_parsed_content(key).flips) == (1 if sides else 2)
    parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / "train.json"))
    parser.update({**more, "flip_left_right": 0.4})
    flip = parser.get_parsed_content("train#spatial_transforms")[0]
    assert flip.flipper.spatial_axis == 0 and flip.prob == (0.0 if sides else 0.4)


def test_shipped_defaults_mirror(bundle: Path, raw: Callable[[Path, str], dict[str, Any]]) -> None:
    """Check that anterior and posterior have no sides, so shipped weights are unchanged."""
    for name in ("train", "evaluate", "inference"):
        config = raw(bundle, name)
        assert config["sides"] is False
        assert config.get("mirror_axes", [0]) == [0] and config.get("flip_left_right", 0.5) == 0.5


def mirrored_blobs(folder: Path) -> Path:
    """Create scans of two equal blobs, left class 1, right class 2, without names."""
    rng = np.random.default_rng(0)
    shape = (32, 16, 16)
    entries = []
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    for n in range(8):
        label = np.zeros(shape, np.uint8)
        shift = rng.integers(-2, 3, 3)
        for value, x in ((1, 9), (2, 22)):
            label[np.linalg.norm(places - (np.array([x, 8, 8]) + shift), axis=-1) < 4] = value
        image = (rng.normal(0, 0.3, shape) + 2 * (label > 0)).astype(np.float32)
        entries.append({"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"})
        for name, array in (("image", image), ("label", label)):
            file = folder / entries[-1][name]
            file.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), file)
    split = {"training": entries[:4], "unlabeled": [], "validation": entries[4:], "test": []}
    (folder / "datalist.json").write_text(json.dumps(split))
    return folder


@pytest.mark.slow
def test_a_network_tells_left_from_right(tmp_path: Path) -> None:
    """Check that blobs that differ only in side are learned by a plan, and not with flips."""
    data = mirrored_blobs(tmp_path / "data")
    plan = tmp_path / "plan.yaml"
    datalist = str(data / "datalist.json")
    asked = ["--datalist", datalist, "--output", str(plan), "--memory", "4"]
    assert main(["plan", str(data), *asked]) == 0

    def dice(name: str, **more: Any) -> float:
        """Train a few dozen iterations and return the mean Dice over validation scans."""
        settings = {
            "dataset_dir": str(data),
            "datalist": datalist,
            "ckpt_dir": str(tmp_path / name),
            "output_dir": str(tmp_path / name),
            "device": "$torch.device('cpu')",
            "num_workers": 0,
            "iterations": 60,
            "learning_rate": 0.01,
            "network_def#features": [8, 8, 16, 16, 16, 8],
        }
        run_workflow(BUNDLE, "train", {**settings, **more}, [plan])
        with (tmp_path / name / "learning_curve.csv").open() as stream:
            return float(list(csv.DictReader(stream))[-1]["validation"])

    assert dice("planned") > 0.9
    assert dice("mirrored", sides=False, flip_left_right=0.5) < 0.7
