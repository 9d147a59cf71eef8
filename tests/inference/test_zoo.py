"""Bundles of others: their code is listed and needs trust; a Model Zoo config runs like ours."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from monai_semiseg.bundles.foreign_code import foreign_code, known_expressions, require_trust
from monai_semiseg.cli.main import main
from monai_semiseg.errors import ConfigError

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
UNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 4, 8, 8, 8],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}


def step(target: str, **more: Any) -> dict[str, Any]:
    return {"_target_": target, **more}


def load_steps() -> dict[str, Any]:
    """Return the transforms of spleen_ct_segmentation that read a scan."""
    window = {"a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True}
    steps = [
        step("LoadImaged", keys="image"),
        step("EnsureChannelFirstd", keys="image"),
        step("Orientationd", keys="image", axcodes="RAS"),
        step("Spacingd", keys="image", pixdim=[1.5, 1.5, 2.0], mode="bilinear"),
        step("ScaleIntensityRanged", keys="image", **window),
        step("EnsureTyped", keys="image"),
    ]
    return step("Compose", transforms=steps)


def save_steps() -> dict[str, Any]:
    """Return its transforms that bring a mask back to the scan's grid and write it."""
    back = {"orig_keys": "image", "nearest_interp": False, "to_tensor": True}
    steps = [
        step("Activationsd", keys="pred", softmax=True),
        step("Invertd", keys="pred", transform="@preprocessing", **back),
        step("AsDiscreted", keys="pred", argmax=True),
        step("SaveImaged", keys="pred", output_dir="@output_dir"),
    ]
    return step("Compose", transforms=steps)


def loader() -> dict[str, Any]:
    """Return its data set and data loader."""
    data = "$[{'image': i} for i in @datalist]"
    loading = {"batch_size": 1, "shuffle": False, "num_workers": 4}
    return {
        "dataset": step("Dataset", data=data, transform="@preprocessing"),
        "dataloader": step("DataLoader", dataset="@dataset", **loading),
    }


def engine() -> dict[str, Any]:
    """Return its inferer, with smaller windows, and its evaluator."""
    windows = {"roi_size": [32, 32, 32], "sw_batch_size": 4, "overlap": 0.5}
    parts = {name: f"@{name}" for name in ("device", "network", "inferer", "postprocessing")}
    return {
        "inferer": step("SlidingWindowInferer", **windows),
        "evaluator": step("SupervisedEvaluator", val_data_loader="@dataloader", amp=True, **parts),
    }


def spleen(**more: Any) -> dict[str, Any]:
    """Return an inference config like spleen_ct_segmentation's, with a smaller network."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/workspace/data/Task09_Spleen",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": step("UNet", **UNET),
        "network": "$@network_def.to(@device)",
        "preprocessing": load_steps(),
        "postprocessing": save_steps(),
        **loader(),
        **engine(),
        "run": ["$@evaluator.run()"],
        **more,
    }


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    return write(tmp_path / "spleen_ct_segmentation")


@pytest.fixture
def scan(tmp_path: Path, kit: SimpleNamespace) -> Path:
    return Path(kit.write_nifti(tmp_path / "in" / "a.nii.gz", kit.values((9, 8, 7))))


def write(root: Path, channels: Sequence[str] = (), **more: Any) -> Path:
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    (root / "configs" / "inference.json").write_text(json.dumps(spleen(**more)))
    pred = {"channel_def": {"0": "background", "1": "spleen"}}
    image = {"num_channels": len(channels), "channel_def": dict(enumerate(channels))}
    inputs = {"image": image} if channels else {}
    form = {"inputs": inputs, "outputs": {"pred": pred}}
    meta = {"version": "0.5.9", "network_data_format": form}
    (root / "configs" / "metadata.json").write_text(json.dumps(meta))
    torch.manual_seed(0)
    unet = {**UNET, "in_channels": len(channels) or 1}
    torch.save(UNet(**unet).state_dict(), root / "models" / "model.pt")
    return root


def predict(bundle: Path, scans: Path, out: Path, *more: str) -> int:
    where = ["--output", str(out), "--bundle", str(bundle), "--device", "cpu"]
    return main(["predict", str(scans), *where, *more])


def test_our_bundles_need_no_trust() -> None:
    for bundle in sorted(path.parent for path in BUNDLES.glob("*/configs")):
        require_trust(foreign_code([bundle / "configs" / "inference.json"]), bundle)


def test_the_known_expressions_are_our_bundles() -> None:
    """Run no more, no less. To renew: sort the strings that begin with $ in the files below."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            walk(list(node.values()))
        elif isinstance(node, list):
            for value in node:
                walk(value)
        elif isinstance(node, str) and node.startswith("$"):
            found.add(node)

    for file in (
        *BUNDLES.glob("*/configs/inference.json"),
        *BUNDLES.glob("*/configs/label_fusion.yaml"),
        *BUNDLES.glob("*/configs/teacher.yaml"),
    ):
        walk(ConfigParser.load_config_file(str(file)))
    assert found == known_expressions()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"run": ["$__import__('os').system('touch proof')"]}, "run#0: $__import__"),
        (
            {"network_def": {"_target_": "subprocess.Popen", "args": ["touch", "proof"]}},
            "network_def#_target_",
        ),
        ({"device": "%/etc/other.json::device"}, "device: %/etc"),
        (
            {"nested": [{"deep": {"_target_": "os.system", "command": "touch proof"}}]},
            "nested#0#deep#_target_",
        ),
    ],
)
def test_foreign_code_is_listed_and_refused_before_it_runs(
    more: dict[str, Any],
    words: str,
    tmp_path: Path,
    scan: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = write(tmp_path / "bundle", **more)
    assert any(words in line for line in foreign_code([bundle / "configs" / "inference.json"]))
    assert predict(bundle, scan, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert words in error and "--trust" in error
    assert not (tmp_path / "proof").exists() and not (tmp_path / "out").exists()


def test_a_model_zoo_bundle_runs_like_ours(tmp_path: Path, zoo: Path, kit: SimpleNamespace) -> None:
    affine = np.diag([-0.9, -0.9, 3.0, 1.0])
    kit.write_nifti(tmp_path / "in" / "a.nii.gz", 100 * kit.values((40, 38, 20)), affine)
    kit.write_dicom(tmp_path / "in" / "series", kit.values((30, 28, 9)), spacing=(1.2, 1.2, 4.0))
    (tmp_path / "in" / "broken.nii.gz").write_bytes(b"\x1f\x8bno")
    options = ("--trust", "--frames", "each")
    assert predict(zoo, tmp_path / "in", tmp_path / "out", *options) == 3
    rows = {
        Path(row["input"]).name: row
        for row in csv.DictReader((tmp_path / "out" / "report.csv").open())
    }
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.nii.gz": "done",
        "series": "done",
        "broken.nii.gz": "failed",
    }
    mask = nib.load(tmp_path / "out" / "a_seg.nii.gz")
    np.testing.assert_allclose(mask.affine, affine)
    assert mask.shape == (40, 38, 20) and "spleen_ml" in rows["a.nii.gz"]
    assert not (zoo / "eval").exists()  # what the bundle would have saved itself
    about = json.loads((tmp_path / "out" / "report.json").read_text())
    assert about["frames"] == "each"  # the option is not lost
    expected = plain(zoo, tmp_path / "in" / "a.nii.gz", tmp_path / "plain")
    assert np.array_equal(np.asanyarray(mask.dataobj), expected)


def test_a_model_zoo_bundle_with_channels(tmp_path: Path, kit: SimpleNamespace) -> None:
    """Find channels in a file each, and on the fourth axis; a scan that lacks one fails."""
    network = step("UNet", **{**UNET, "in_channels": 2})
    bundle = write(tmp_path / "brats", ("T1", "FLAIR"), network_def=network)
    voxels = [100 * kit.values((30, 28, 20), seed) for seed in range(2)]
    folder = tmp_path / "in"
    for name, array in zip(("T1", "FLAIR"), voxels, strict=True):
        kit.write_nifti(folder / "split" / f"a_{name}.nii.gz", array)
    kit.write_nifti(folder / "whole" / "b.nii.gz", np.stack(voxels, -1))
    kit.write_nifti(folder / "half" / "c.nii.gz", voxels[0])
    assert predict(bundle, folder, tmp_path / "out", "--trust") == 3
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["cases"]
    status = {Path(row["input"]).name.split(".")[0]: row["status"] for row in rows}
    assert status == {"a_T1": "done", "b": "done", "c": "failed"}
    first, second = sorted((tmp_path / "out").rglob("*_seg.nii.gz"))
    assert np.array_equal(nib.load(first).get_fdata(), nib.load(second).get_fdata())


def plain(bundle: Path, scan: Path, out: Path) -> Any:
    """Return the mask that MONAI's own engine gives with this configuration."""
    parser = ConfigParser(
        spleen(bundle_root=str(bundle), device="$torch.device('cpu')", output_dir=str(out))
    )
    parser["datalist"] = [str(scan)]
    parser["dataloader#num_workers"] = 0
    network = parser.get_parsed_content("network")
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    parser.get_parsed_content("evaluator").run()
    (file,) = out.rglob("*.nii.gz")
    return np.asanyarray(nib.load(file).dataobj).squeeze()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"inferer": None}, "no 'inferer'"),
        ({"preprocessing": step("Compose", transforms=[])}, "one LoadImaged"),
        (
            {"preprocessing": step("Compose", transforms=[step("LoadImaged", keys="ct")])},
            "one LoadImaged",
        ),
    ],
)
def test_bundles_that_follow_no_convention(
    more: dict[str, Any], words: str, tmp_path: Path, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write(tmp_path / "b", **more)
    assert predict(bundle, scan, tmp_path / "out", "--trust") == 2
    assert words in capsys.readouterr().err


def test_a_yaml_that_repeats_itself_is_looked_at_once(tmp_path: Path) -> None:
    """Refuse thirty anchors, each twice the one before: a thousand million strings."""
    lines = ["a0: &a0 ['$import os']"] + [
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 31)
    ]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    assert len(foreign_code([tmp_path / "bomb.yaml"])) == 1


def test_yaml_tags_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tag.yaml").write_text("a: !!python/object/apply:os.system ['touch proof']")
    with pytest.raises(ConfigError, match="cannot be read"):
        foreign_code([tmp_path / "tag.yaml"])
    assert not Path("proof").exists()


def test_a_bundle_without_label_names(tmp_path: Path, zoo: Path, kit: SimpleNamespace) -> None:
    (zoo / "configs" / "metadata.json").write_text(json.dumps({"version": "1"}))
    kit.write_nifti(tmp_path / "in" / "a.nii.gz", kit.values((9, 8, 7)))
    assert predict(zoo, tmp_path / "in", tmp_path / "out", "--trust") == 2
    with pytest.raises(ConfigError, match="foreign code"):
        require_trust(foreign_code([zoo / "configs" / "inference.json"]), zoo)


def test_a_misspelt_setting_is_refused(
    tmp_path: Path, zoo: Path, kit: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.write_nifti(tmp_path / "in" / "a.nii.gz", kit.values((9, 8, 7)))
    (tmp_path / "mine.yaml").write_text("inferer#overlapp: 0.25")
    for said in (["--set", "inferrer#overlap=0.25"], ["--config", str(tmp_path / "mine.yaml")]):
        assert predict(zoo, tmp_path / "in", tmp_path / "out", "--trust", *said) == 2
        assert "did you mean" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
