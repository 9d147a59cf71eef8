"""Small data sets of 2-D and 3-D images with channels, and the way from check to evaluate."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from monai.networks.nets import BasicUNet
from PIL import Image

from monai_semiseg.cli.main import main

FEATURES = [4, 4, 4, 4, 4, 4]
NETWORK = f"network_def#features={FEATURES}"
AFFINE = np.diag([-1.5, 1.0, 2.0, 1.0])
SAGITTAL = np.diag([-6.0, 1.0, 1.5, 1.0])  # thick slices along the first axis
LABELS = {"background": 0, "disc": 1, "cup": 3}
CONTRASTS = ("FLAIR", "T1", "T1post", "T2")
FLAGGED = 5  # exit code of predict: the mask of two iterations is unlike the labels
Array = np.ndarray[Any, Any]


# Data: the same squares in noise, in several kinds of image


def squares(number: int, shape: tuple[int, ...]) -> Array:
    """Label map with a square of 1 and a square of 3 that move with the case."""
    label = np.zeros(shape, np.uint8)
    label[2 + number : 9 + number, 2:9] = 1
    label[6 : 12 + number, 11:17] = 3
    return label


def noisy(label: Array, channel: int, seed: int) -> Array:
    rng = np.random.default_rng(seed * 10 + channel)
    level = np.array([60, 100 + 20 * channel, 0, 180 - 20 * channel])
    return level[label] + rng.normal(size=label.shape) * 8


def as_pixels(*channels: Array) -> Array:
    """Return an array as pillow takes it: grey, or three colours."""
    stacked = np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)
    return stacked[..., 0] if len(channels) == 1 else stacked


def write_nifti(file: Path, array: Array, affine: Array = AFFINE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), file)


def write_picture(file: Path, array: Array) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


def describe(root: Path, **facts: Any) -> None:
    content = {"labels": LABELS, "sides": False, **facts}
    (root / "dataset.json").write_text(json.dumps(content))


def photographs(root: Path) -> None:
    """Write photographs: 2-D, RGB, without a pixel size, as PNG."""
    for number in range(6):
        label = squares(number, (40, 32))
        pixels = as_pixels(*(noisy(label, channel, number) for channel in range(3)))
        write_picture(root / "images" / f"p{number}.png", pixels)
        write_picture(root / "masks" / f"p{number}_mask.png", label)
    describe(root)


def scans(root: Path) -> None:
    """Write scans: 3-D, one channel, as NIfTI in two folders."""
    for number in range(6):
        label = squares(number, (18, 20, 16))
        write_nifti(root / "images" / f"p{number}.nii.gz", noisy(label, 0, number).astype("f4"))
        write_nifti(root / "labels" / f"p{number}.nii.gz", label)
    describe(root, modality="MRI")


def contrasts(root: Path, affine: Array = AFFINE) -> None:
    """Write scans: 3-D, four channels, as NIfTI in the layout of nnU-Net."""
    for number in range(6):
        label = squares(number, (18, 20, 16))
        for channel in range(4):
            file = root / "imagesTr" / f"p{number}_{channel:04}.nii.gz"
            write_nifti(file, noisy(label, channel, number).astype("f4"), affine)
        write_nifti(root / "labelsTr" / f"p{number}.nii.gz", label, affine)
    names = {str(number): name for number, name in enumerate(CONTRASTS)}
    describe(root, channel_names=names, numTraining=6, file_ending=".nii.gz")


def thick_slices(root: Path) -> None:
    """Write scans: 3-D, four channels, in sagittal slices, for a 2-D network over slices."""
    contrasts(root, SAGITTAL)


@dataclass(frozen=True)
class Kind:
    """Describe what a kind of image must come out as.

    Attributes:
        spatial_dims: of the network.
        channels: their names.
        unit: of distances in the evaluation.
        shape: of a mask, as a reader of its kind of file gives it.
        ending: of the mask's file.
    """

    spatial_dims: int
    channels: tuple[str, ...]
    unit: str
    shape: tuple[int, ...]
    ending: str = ".nii.gz"


RGB_2D = Kind(2, ("red", "green", "blue"), "px", (40, 32), ".png")
GREY_3D = Kind(3, ("image",), "mm", (18, 20, 16))
CHANNELS_3D = Kind(3, CONTRASTS, "mm", (18, 20, 16))
SLICES = Kind(2, CONTRASTS, "mm", (18, 20, 16))
KINDS: dict[str, tuple[Callable[[Path], None], Kind]] = {
    "rgb_2d": (photographs, RGB_2D),
    "grey_3d": (scans, GREY_3D),
    "channels_3d": (contrasts, CHANNELS_3D),
    "slices": (thick_slices, SLICES),
}


# The way


@dataclass(frozen=True)
class Prepared:
    """A data set that is checked, split and planned.

    Attributes:
        kind: what its images are.
        root: its folder or table.
        datalist: of its split.
        plan: file with its plan.
        new: folder with the image of its test case.
    """

    kind: Kind
    root: Path
    datalist: Path
    plan: Path
    new: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(self.plan.read_text())
        return content


def prepare(kind: Kind, root: Path, folder: Path, *options: str, labelled: int = 3) -> Prepared:
    """Check, split and plan a data set, and copy the image of its test case."""
    names = ("datalist.json", "plan.yaml", "new")
    done = Prepared(kind, root, *(folder / name for name in names))
    assert main(["check", str(root), *options]) == 0
    share = ["--labelled", str(labelled), "--validation", "0.34", "--test", "1"]
    assert main(["split", str(root), *share, *options, "--output", str(done.datalist)]) == 0
    where = ["--datalist", str(done.datalist), *options]
    assert main(["plan", str(root), *where, "--output", str(done.plan)]) == 0
    plan = done.settings
    assert plan["spatial_dims"] == len(plan["patch_size"]) == kind.spatial_dims
    assert tuple(plan["channel_names"]) == kind.channels
    assert plan["in_channels"] == len(kind.channels)
    (entry,) = json.loads(done.datalist.read_text())["test"]
    images = [entry["image"]] if isinstance(entry["image"], str) else entry["image"]
    for name in images:
        target = done.new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = (root.parent if root.is_file() else root) / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return done


def train(data: Prepared, folder: Path, *words: str, settings: tuple[str, ...] = ()) -> Path:
    """Train for two iterations by the words of a command; return the folder of the weights."""
    verb, *rest = words
    asked = [verb, str(data.root), *rest, "--datalist", str(data.datalist)]
    asked += ["--plan", str(data.plan), "--iterations", "2", "--device", "cpu"]
    for setting in ("num_workers=0", "batch_size=2", *settings):
        asked += ["--set", setting]
    assert main([*asked, "--output", str(folder)]) == 0
    return folder


def check_network(data: Prepared, weights: Path) -> None:
    """Load the weights into MONAI's own network of the plan's dimensions and channels."""
    classes = data.settings["out_channels"]
    network = BasicUNet(data.kind.spatial_dims, len(data.kind.channels), classes, FEATURES)
    state = torch.load(weights / "model.pt", weights_only=True)
    network.load_state_dict(state)
    assert all(torch.isfinite(value).all() for value in state.values())


def check_masks(data: Prepared, weights: Path, folder: Path, *options: str) -> None:
    """Predict the test case: a mask of its size, in its kind of file, with the file's numbers."""
    asked = ["predict", str(data.new), "--weights", str(weights), "--output", str(folder)]
    assert main([*asked, "--device", "cpu", "--no_preview", *options]) in (0, FLAGGED)
    (file,) = folder.rglob("*_seg.*")
    assert file.name.endswith(f"_seg{data.kind.ending}")
    if data.kind.ending == ".png":
        mask = np.asarray(Image.open(file))
    else:
        mask = np.asarray(nib.load(file).dataobj)
        for image in data.new.rglob("*.nii.gz"):
            assert np.allclose(nib.load(file).affine, nib.load(image).affine)
    assert mask.shape == data.kind.shape
    assert set(np.unique(mask)) <= set(data.settings["label_values"])


def check_scores(data: Prepared, weights: Path, folder: Path, *options: str) -> None:
    """Evaluate: finite scores in the unit of the images."""
    asked = ["evaluate", str(data.root), "--datalist", str(data.datalist)]
    asked += ["--weights", str(weights), "--output", str(folder), "--device", "cpu"]
    assert main([*asked, *options]) == 0
    summary = json.loads((folder / "metrics.json").read_text())
    background, *classes = data.settings["label_names"].values()
    assert background == "background"
    assert summary["cases"] == 1 and list(summary["classes"]) == classes
    assert {f"{name}_{data.kind.unit}" for name in ("hd95", "asd")} < set(summary["foreground"])
    assert all(math.isfinite(score["mean"]) for score in summary["foreground"].values())
