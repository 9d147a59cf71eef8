"""Every method of every bundle, from check to evaluate, over 2-D and 3-D images and channels."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.networks.nets import BasicUNet
from PIL import Image

from monai_semiseg.cli.main import main

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
BASELINES = BUNDLES / "semisupervised_baselines" / "configs"
METHODS = sorted(file.stem for file in (BASELINES / "methods").glob("*.yaml"))
FEATURES = "[4, 4, 4, 4, 4, 4]"
AFFINE = np.diag([-1.5, 1.0, 2.0, 1.0])
LABELS = {"background": 0, "disc": 1, "cup": 3}
CONTRASTS = ("FLAIR", "T1", "T1post", "T2")
FLAGGED = 5  # exit code of predict: the mask of two iterations is unlike the labels
Array = np.ndarray[Any, Any]


# Data: the same squares in noise, in three kinds of image


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


def write_nifti(file: Path, array: Array) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), file)


def write_png(file: Path, array: Array) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


def describe(root: Path, **facts: Any) -> None:
    content = {"labels": LABELS, "sides": False, **facts}
    (root / "dataset.json").write_text(json.dumps(content))


def photographs(root: Path) -> None:
    """2-D, RGB, without a pixel size: PNG."""
    for number in range(6):
        label = squares(number, (40, 32))
        colours = [noisy(label, channel, number) for channel in range(3)]
        pixels = np.clip(np.stack(colours, -1), 0, 255).astype(np.uint8)
        write_png(root / "images" / f"p{number}.png", pixels)
        write_png(root / "masks" / f"p{number}_mask.png", label)
    describe(root)


def scans(root: Path) -> None:
    """3-D, one channel: NIfTI in the layout of MONAI and the Decathlon."""
    for number in range(6):
        label = squares(number, (18, 20, 16))
        write_nifti(root / "images" / f"p{number}.nii.gz", noisy(label, 0, number).astype("f4"))
        write_nifti(root / "labels" / f"p{number}.nii.gz", label)
    describe(root, modality="MRI")


def contrasts(root: Path) -> None:
    """3-D, four channels: NIfTI in the layout of nnU-Net."""
    for number in range(6):
        label = squares(number, (18, 20, 16))
        for channel in range(4):
            file = root / "imagesTr" / f"p{number}_{channel:04}.nii.gz"
            write_nifti(file, noisy(label, channel, number).astype("f4"))
        write_nifti(root / "labelsTr" / f"p{number}.nii.gz", label)
    names = {str(number): name for number, name in enumerate(CONTRASTS)}
    describe(root, channel_names=names, numTraining=6, file_ending=".nii.gz")


@dataclass(frozen=True)
class Kind:
    """What a kind of image must come out as."""

    build: Callable[[Path], None]
    spatial_dims: int
    channels: tuple[str, ...]
    unit: str
    shape: tuple[int, ...]  # of a mask, as its own reader gives it


KINDS = {
    "rgb_2d": Kind(photographs, 2, ("red", "green", "blue"), "px", (40, 32)),
    "grey_3d": Kind(scans, 3, ("image",), "mm", (18, 20, 16)),
    "channels_3d": Kind(contrasts, 3, CONTRASTS, "mm", (18, 20, 16)),
}


@dataclass(frozen=True)
class Prepared:
    """A data set that is checked, split and planned, and the files of its test case."""

    kind: Kind
    root: Path
    datalist: Path
    plan: Path
    new: Path

    @property
    def files(self) -> list[str]:
        return ["--datalist", str(self.datalist), "--plan", str(self.plan)]


def prepare(kind: Kind, root: Path, folder: Path, *options: str) -> Prepared:
    """Check, split and plan a data set, and copy the image of its test case."""
    names = ("datalist.json", "plan.yaml", "new")
    done = Prepared(kind, root, *(folder / name for name in names))
    where = ["--datalist", str(done.datalist), *options]
    assert main(["check", str(root), *options]) == 0
    share = ["--labelled", "3", "--validation", "0.34", "--test", "1"]
    assert main(["split", str(root), *share, *options, "--output", str(done.datalist)]) == 0
    assert main(["plan", str(root), *where, "--output", str(done.plan)]) == 0
    plan = yaml.safe_load(done.plan.read_text())
    assert plan["spatial_dims"] == len(plan["patch_size"]) == kind.spatial_dims
    assert tuple(plan["channel_names"]) == kind.channels
    assert plan["in_channels"] == len(kind.channels)
    (entry,) = json.loads(done.datalist.read_text())["test"]
    image = entry["image"]
    for name in [image] if isinstance(image, str) else image:
        target = done.new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, target)
    return done


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    @cache
    def of(name: str) -> Prepared:
        folder = tmp_path_factory.mktemp(name)
        KINDS[name].build(folder / "data")
        return prepare(KINDS[name], folder / "data", folder)

    return of


@pytest.fixture(params=KINDS)
def data(request: pytest.FixtureRequest, prepared: Callable[[str], Prepared]) -> Prepared:
    return prepared(request.param)


# Recipes: the trainings that lead to a network


NETWORK = f"network_def#features={FEATURES}"
TEACHER = f"teacher_features={FEATURES}"
EMBEDDED = (NETWORK, "channels=4")
CONTRASTED = (*EMBEDDED, "dimension=8")


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        words: verb and what follows the data set.
        settings: further keys of its config.
        starts: setting -> number of the earlier stage whose weights it takes.
    """

    words: tuple[str, ...]
    settings: tuple[str, ...] = (NETWORK,)
    starts: tuple[tuple[str, int], ...] = ()


def pretrain(bundle: str, *words: str) -> tuple[str, ...]:
    return ("pretrain", "--bundle", bundle, *words)


def train(bundle: str, *words: str) -> tuple[str, ...]:
    return ("train", "--bundle", bundle, *words)


def overlay(bundle: str, name: str) -> tuple[str, str]:
    return ("--config", str(BUNDLES / bundle / "configs" / f"{name}.yaml"))


HEBBIAN, CONTRAST, DIFFUSION = (
    "hebbian_initializer",
    "contrastive_pretrainer",
    "diffusion_cotrainer",
)
AFTER = (("init_weights", 0),)
RECIPES = {
    "supervised": (Stage(("train",)),),
    **{name: (Stage(("train", "--method", name)),) for name in METHODS},
    "hebbian": (Stage(pretrain(HEBBIAN)), Stage(train(HEBBIAN), starts=AFTER)),
    "contrastive": (
        Stage(pretrain(CONTRAST, "--stage", "global"), CONTRASTED),
        Stage(pretrain(CONTRAST, "--stage", "local"), CONTRASTED, AFTER),
        Stage(train(CONTRAST), starts=(("init_weights", 1),)),
    ),
    "self_local": (
        Stage(pretrain(CONTRAST, "--stage", "local", *overlay(CONTRAST, "self_local")), CONTRASTED),
        Stage(train(CONTRAST), starts=AFTER),
    ),
    "diffusion": (
        Stage(pretrain(DIFFUSION), (TEACHER,)),
        Stage(pretrain(DIFFUSION, "--stage", "denoising"), EMBEDDED),
        Stage(train(DIFFUSION), (NETWORK, TEACHER), (("teacher_weights", 0), ("init_weights", 1))),
    ),
    "cached": (
        Stage(
            train(DIFFUSION, *overlay(DIFFUSION, "cached")), (NETWORK, TEACHER, "refresh_every=1")
        ),
    ),
}


def run_stage(stage: Stage, data: Prepared, folder: Path, earlier: list[Path]) -> Path:
    """Train for two iterations, and return the folder of the weights."""
    small = ["num_workers=0", "batch_size=2", *stage.settings]
    small += [f"{key}={earlier[number] / 'model.pt'}" for key, number in stage.starts]
    verb, *words = stage.words
    asked = [verb, str(data.root), *words, *data.files, "--iterations", "2", "--device", "cpu"]
    sets = [word for setting in small for word in ("--set", setting)]
    assert main([*asked, *sets, "--output", str(folder)]) == 0
    return folder


# What the network must be good for


def check_network(data: Prepared, weights: Path) -> None:
    """Load the weights into MONAI's own network of the plan's dimensions and channels."""
    features = json.loads(FEATURES)
    network = BasicUNet(data.kind.spatial_dims, len(data.kind.channels), 3, features)
    state = torch.load(weights / "model.pt", weights_only=True)
    network.load_state_dict(state)
    assert all(torch.isfinite(value).all() for value in state.values())


def check_masks(data: Prepared, weights: Path, folder: Path, *options: str) -> None:
    """Predict the test case: a mask of its size, in its kind of file, with the file's numbers."""
    asked = ["predict", str(data.new), "--weights", str(weights), "--output", str(folder)]
    assert main([*asked, "--device", "cpu", "--no_preview", *options]) in (0, FLAGGED)
    (file,) = folder.rglob("*_seg.*")
    if file.suffix == ".png":
        mask = np.asarray(Image.open(file))
    else:
        mask = np.asarray(nib.load(file).dataobj)
        (image, *_) = [path for path in data.new.rglob("*") if path.is_file()]
        assert np.allclose(nib.load(file).affine, nib.load(image).affine)
    assert mask.shape == data.kind.shape
    assert (file.suffix == ".png") == (data.kind.unit == "px")
    assert set(np.unique(mask)) <= {0, 1, 3}


def check_scores(data: Prepared, weights: Path, folder: Path, *options: str) -> None:
    """Evaluate: finite scores in the unit of the images."""
    asked = ["evaluate", str(data.root), "--datalist", str(data.datalist)]
    asked += ["--weights", str(weights), "--output", str(folder), "--device", "cpu"]
    assert main([*asked, *options]) == 0
    summary = json.loads((folder / "metrics.json").read_text())
    assert summary["cases"] == 1 and set(summary["classes"]) == {"disc", "cup"}
    names = {f"{name}_{data.kind.unit}" for name in ("hd95", "asd")}
    assert names < set(summary["foreground"])
    assert all(math.isfinite(score["mean"]) for score in summary["foreground"].values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_method(
    recipe: str, data: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained: list[Path] = []
    for number, stage in enumerate(RECIPES[recipe]):
        trained.append(run_stage(stage, data, tmp_path / str(number), trained))
    assert "not used" not in caplog.text and "of another shape" not in caplog.text
    check_network(data, trained[-1])
    check_masks(data, trained[-1], tmp_path / "masks")
    check_scores(data, trained[-1], tmp_path / "scores")
