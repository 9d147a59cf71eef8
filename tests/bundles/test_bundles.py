"""Every bundle: what MONAI's tools expect of it, and train, evaluate, predict from another working directory."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.utils import set_determinism

from monai_semiseg.data.fingerprint import Fingerprint
from monai_semiseg.data.plan import plan
from monai_semiseg.errors import CheckpointError, ConfigError, LabelError, root_cause
from monai_semiseg.inference.workflow import open_workflow, run_workflow

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent for path in (ROOT / "bundles").glob("*/configs"))
WORKFLOWS = ("train", "evaluate", "inference")
SHARED = ("spatial_dims", "in_channels", "out_channels", "label_names", "spacing", "patch_size", "intensity",
          "network_def", "network", "inferer", "overlap", "mirror_axes", "preprocessing", "postprocessing")  # fmt: skip
PATCH = [32, 32, 32]
CPU = "$torch.device('cpu')"

pytestmark = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def raw(bundle: Path, config: str) -> dict[str, Any]:
    return json.loads((bundle / "configs" / f"{config}.json").read_text())  # type: ignore[no-any-return]


def settings(bundle: Path, config: str, **more: Any) -> dict[str, Any]:
    """Overrides for a small run, those that the config knows."""
    small = {"patch_size": PATCH, "device": CPU, "num_workers": 0, "iterations": 2, **more}
    return {key: value for key, value in small.items() if key in raw(bundle, config)}


def write(path: Path, array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small labelled scans with two classes, and a datalist; the last one is smaller than the patch, and LPS."""
    root, rng, entries = tmp_path_factory.mktemp("data"), np.random.default_rng(0), []
    for n in range(6):
        shape = (34, 30, 36) if n < 5 else (20, 24, 18)
        label = np.zeros(shape, dtype=np.uint8)
        label[6:12, 8:20, 5:15], label[12:18, 8:20, 5:15] = 1, 2
        names = {"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"}
        affine = np.diag([1.0, 1.0, 1.0, 1.0] if n < 5 else [-1.0, -1.0, 1.2, 1.0])
        write(root / names["image"], (rng.normal(size=shape) + 3 * label).astype(np.float32), affine)
        write(root / names["label"], label, affine)
        entries.append(names)
    datalist = {"training": entries[:2], "unlabeled": [{"image": entries[2]["image"]}], "validation": entries[3:4],
                "test": entries[4:], "nobody": []}  # fmt: skip
    (root / "datalist.json").write_text(json.dumps(datalist))
    return root


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Another working directory than the repository; whatever lands there was written by mistake."""
    folder = tmp_path_factory.mktemp("elsewhere")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with contextlib.chdir(folder):
        yield folder
    torch.set_num_threads(threads)
    set_determinism(None)
    assert not list(folder.iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[Path, Path]:
    """Bundle -> folder with the weights of two iterations."""
    folders = {}
    for bundle in BUNDLES:
        folders[bundle] = tmp_path_factory.mktemp(bundle.name)
        train(bundle, data, folders[bundle])
    return folders


def train(bundle: Path, data: Path, folder: Path, **more: Any) -> ConfigWorkflow:
    where = {"dataset_dir": str(data), "ckpt_dir": str(folder), "output_dir": str(folder)}
    return run_workflow(bundle, "train", settings(bundle, "train", **where, **more))


@pytest.mark.parametrize("name", ["LICENSE", "docs/README.md", "docs/data_license.txt", "configs/metadata.json",
                                  "configs/train.json", "configs/inference.json", "configs/evaluate.json",
                                  "configs/multi_gpu_train.json", "configs/logging.conf"])  # fmt: skip
def test_files(bundle: Path, name: str) -> None:
    assert (bundle / name).stat().st_size > 100


def test_metadata(bundle: Path) -> None:
    meta = raw(bundle, "metadata")
    required = {"schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version",
                "required_packages_version", "name", "task", "description", "authors", "copyright", "data_source",
                "data_type", "image_classes", "label_classes", "pred_classes", "intended_use", "references",
                "network_data_format"}  # fmt: skip
    assert required <= set(meta)
    assert all(prop["id"].split("::")[-1] in meta for prop in MetaProperties.values() if prop["required"])
    assert meta["version"] in meta["changelog"]
    image, pred = (meta["network_data_format"][way][name] for way, name in (("inputs", "image"), ("outputs", "pred")))
    keys = {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data", "channel_def"}
    assert keys <= set(image) and keys <= set(pred)
    config = raw(bundle, "inference")
    assert image["num_channels"] == config["in_channels"]
    assert pred["num_channels"] == config["out_channels"] == len(pred["channel_def"])
    assert pred["channel_def"] == config["label_names"]


def test_metadata_names_the_versions_that_are_tested(bundle: Path) -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    pins = {name.lower(): version for name, version in pins.items()}
    meta = raw(bundle, "metadata")
    stated = {**meta["required_packages_version"], "monai": meta["monai_version"], "torch": meta["pytorch_version"],
              "numpy": meta["numpy_version"]}  # fmt: skip
    assert {name: pins.get(name.lower()) for name in stated} == stated


@pytest.mark.parametrize("config", WORKFLOWS)
def test_workflow_initialises_and_has_every_property(bundle: Path, data: Path, tmp_path: Path, config: str) -> None:
    kind, properties = ("train", TrainProperties) if config == "train" else ("infer", InferProperties)
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / f"{config}.json"), workflow_type=kind, bundle_root=str(bundle),
        meta_file=str(bundle / "configs" / "metadata.json"), logging_file=False,
        **settings(bundle, config, dataset_dir=str(data), ckpt_dir=str(tmp_path), output_dir=str(tmp_path)),
    )  # fmt: skip
    workflow.initialize()
    assert workflow.check_properties() == []
    for name, prop in properties.items():
        if prop["required"]:
            assert prop["id"] in workflow.parser, name
            assert getattr(workflow, name) is not None, name


def test_initialising_needs_no_data_and_no_weights(bundle: Path, tmp_path: Path) -> None:
    """monai.bundle.load, MONAI Label and MONAI FL initialise a bundle before they set paths."""
    for config in WORKFLOWS:
        open_workflow(bundle, config, settings(bundle, config, dataset_dir=str(tmp_path / "nowhere"))).initialize()


@pytest.mark.parametrize("config", WORKFLOWS)
def test_network_is_what_the_metadata_says(bundle: Path, config: str) -> None:
    files = {"meta_file": str(bundle / "configs" / "metadata.json"),
             "config_file": str(bundle / "configs" / f"{config}.json")}  # fmt: skip
    monai.bundle.verify_net_in_out("network_def", device="cpu", **files)
    parser = ConfigParser(raw(bundle, config))
    image = torch.zeros(1, parser["in_channels"], *parser["patch_size"])
    with torch.no_grad():
        output = parser.get_parsed_content("network_def").eval()(image)
    channels = raw(bundle, "metadata")["network_data_format"]["outputs"]["pred"]["num_channels"]
    assert output.shape == (1, channels, *image.shape[2:])


@pytest.mark.parametrize("shape", [(20, 18, 12), (9, 9, 9), (300, 300, 5), (24, 40, 24), (1, 40, 40)], ids=str)
def test_network_takes_the_patch_of_any_plan(bundle: Path, shape: tuple[int, ...]) -> None:
    """A patch that the network's downsamplings shrink to nothing (or to one voxel: instance norm) fails in training."""
    fingerprint = Fingerprint("MRI", np.ones((1, 3)), np.array([shape]), np.ones((1, 3)), None, {0: "none", 1: "a"}, {})
    settings = plan(fingerprint, max_voxels=64**3)
    parser = ConfigParser({**raw(bundle, "train"), **settings})
    with torch.no_grad():
        output = parser.get_parsed_content("network_def")(torch.zeros(1, 1, *settings["patch_size"]))
    assert output.shape == (1, 2, *settings["patch_size"])


def test_what_the_workflows_share_is_equal(bundle: Path) -> None:
    configs = [raw(bundle, config) for config in WORKFLOWS]
    for key in SHARED:
        values = [config[key] for config in configs if key in config]
        if key == "preprocessing":  # evaluation reads the label, too, and keeps a copy of the scan for pictures
            values = [[step for step in value["transforms"] if "label" not in json.dumps(step)] for value in values]
            values = [[step for step in value if isinstance(step, str) or step["_target_"] in (
                "Orientationd", "Spacingd")] for value in values]  # fmt: skip
        if key == "postprocessing":  # inference may keep the uncertainty, too
            values = [[step["_target_"] for step in value["transforms"]] for value in values]
        assert all(value == values[0] for value in values), key
    common = {"spatial_dims", "in_channels", "out_channels", "label_names", "spacing", "patch_size", "intensity",
              "network_def"}  # fmt: skip
    assert all(common <= set(config) for config in configs)
    assert {"inferer", "postprocessing"} <= set(configs[1]) & set(configs[2])


TARGETS = re.compile(r"(monai_semiseg\.[\w.]+|torch\.(optim|nn)\.[\w.]+|[A-Z]\w+|\$lambda: @[\w#]+)")
# One name to a line: of several, MONAI's parser imports the first.
IMPORTS = re.compile(r"\$(import (torch|os|torch\.distributed as dist)|from (monai_semiseg[\w.]*|pathlib) import \w+)")
CALLS = re.compile(
    r"__|\b(eval|exec|compile|open|system|popen|getattr|input)\s*\(|\b(subprocess|requests|urllib|socket)\b"
)


def test_configs_run_no_code_but_ours_and_monais(bundle: Path) -> None:
    """Read as text: configs are code, and ours stay boring."""

    def walk(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
        if isinstance(node, dict):
            for name, value in node.items():
                yield from walk(value, name)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value, key)
        elif isinstance(node, str):
            yield key, node

    for file in sorted((bundle / "configs").glob("*.json")):
        for key, text in walk(json.loads(file.read_text())):
            if key == "_target_":
                assert TARGETS.fullmatch(text), (file.name, text)
            elif key == "imports":
                assert IMPORTS.fullmatch(text), (file.name, text)
            elif text.startswith("$"):
                assert not CALLS.search(text), (file.name, text)


def test_train_evaluate_predict(bundle: Path, data: Path, trained: dict[Path, Path], tmp_path: Path) -> None:
    before = sorted(bundle.rglob("*"))
    folder = trained[bundle]
    for name in ("model.pt", "checkpoint.pt", "learning_curve.csv", "learning_curve.png"):
        assert (folder / name).stat().st_size > 0
    rows = list(csv.DictReader((folder / "learning_curve.csv").open()))
    assert [row["iteration"] for row in rows] == ["2"]
    assert 0 <= float(rows[0]["validation"]) <= 1
    weights = {"ckpt_path": str(folder / "model.pt")}

    run_workflow(bundle, "evaluate", settings(bundle, "evaluate", dataset_dir=str(data),
                                              output_dir=str(tmp_path / "eval"), **weights))  # fmt: skip
    scores = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    assert [(row["case"], row["class"]) for row in scores] == [("4", "1"), ("4", "2"), ("5", "1"), ("5", "2")]
    assert float(scores[0]["label_ml"]) == pytest.approx(6 * 12 * 10 / 1000)
    assert float(scores[2]["label_ml"]) == pytest.approx(6 * 12 * 10 * 1.2 / 1000, rel=1e-4)
    assert (tmp_path / "eval" / "worst_cases.png").stat().st_size > 1000

    scans = tmp_path / "scans"
    scans.mkdir()
    for n in (4, 5):
        shutil.copy(data / "images" / f"{n}.nii.gz", scans / f"{n}.nii.gz")
    (scans / "bad.nii.gz").write_text("no scan")
    workflow = run_workflow(bundle, "inference", settings(bundle, "inference", dataset_dir=str(scans),
                                                          output_dir=str(tmp_path / "masks"), **weights))  # fmt: skip
    for n in (4, 5):
        scan, mask = nib.load(scans / f"{n}.nii.gz"), nib.load(tmp_path / "masks" / f"{n}_seg.nii.gz")
        assert mask.shape == scan.shape
        assert np.abs(mask.affine - scan.affine).max() < 1e-5
        # The same network on the same scan: the volumes of both workflows agree.
        counted = [int((np.asanyarray(mask.dataobj) == c).sum()) * abs(np.linalg.det(scan.affine)) / 1000
                   for c in (1, 2)]  # fmt: skip
        assert [float(row["pred_ml"]) for row in scores if row["case"] == str(n)] == pytest.approx(counted, abs=2e-5)
    with pytest.raises(SystemExit) as left:
        workflow.finalize()
    assert left.value.code == 3
    assert sorted(bundle.rglob("*")) == before, "nothing is written into the bundle"


def test_weights_are_a_plain_state_dict_of_the_stock_network(bundle: Path, trained: dict[Path, Path]) -> None:
    state = torch.load(trained[bundle] / "model.pt", weights_only=True)
    assert raw(bundle, "train")["network_def"]["_target_"] in dir(monai.networks.nets)
    network = ConfigParser(raw(bundle, "train")).get_parsed_content("network_def")
    network.load_state_dict(state, strict=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())


@pytest.mark.parametrize("kind", ["train", "inference"])
def test_monai_bundle_load(bundle: Path, trained: dict[Path, Path], tmp_path: Path, kind: str) -> None:
    shutil.copytree(bundle / "configs", tmp_path / bundle.name / "configs")
    (tmp_path / bundle.name / "models").mkdir()
    shutil.copy(trained[bundle] / "model.pt", tmp_path / bundle.name / "models" / "model.pt")
    network = monai.bundle.load(bundle.name, bundle_dir=str(tmp_path), workflow_type=kind, device="cpu")
    state = torch.load(trained[bundle] / "model.pt", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_shipped_weights_fit(bundle: Path) -> None:
    shipped = bundle / "models" / "model.pt"
    if not shipped.exists():
        pytest.skip("no weights are shipped")
    network = ConfigParser(raw(bundle, "inference")).get_parsed_content("network_def")
    network.load_state_dict(torch.load(shipped, weights_only=True), strict=True)
    assert shipped.stat().st_size < 25e6, "the model zoo's limit for files in git"


def test_a_stopped_training_goes_on_as_if_it_never_stopped(
    bundle: Path, data: Path, trained: dict[Path, Path], tmp_path: Path
) -> None:
    """The wiring of the config: everything that has a state is in the checkpoint."""
    budget = {"iterations": 4, "epoch_iterations": 1}
    train(bundle, data, tmp_path / "whole", **budget)

    class Stopped(Exception):
        pass

    def stop(engine: Engine) -> None:
        if engine.state.iteration == 3:
            raise Stopped

    where = {"dataset_dir": str(data), "ckpt_dir": str(tmp_path / "twice"), "output_dir": str(tmp_path / "twice")}
    workflow = open_workflow(bundle, "train", settings(bundle, "train", **where, **budget))
    workflow.initialize()
    workflow.trainer.add_event_handler(Events.ITERATION_STARTED, stop)
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    assert isinstance(caught.value.__cause__, Stopped)
    train(bundle, data, tmp_path / "twice", resume=True, **budget)
    curves = [(tmp_path / name / "learning_curve.csv").read_text() for name in ("whole", "twice")]
    assert curves[0] == curves[1]
    assert len(curves[0].splitlines()) == 5
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "twice")]
    assert all(torch.equal(value, states[1]["network"][name]) for name, value in states[0]["network"].items())
    assert states[0]["lr_scheduler"] == states[1]["lr_scheduler"]


def test_initial_weights(bundle: Path, data: Path, trained: dict[Path, Path], tmp_path: Path) -> None:
    torch.save({"nothing.fits": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(RuntimeError) as caught:
        train(bundle, data, tmp_path / "run", init_weights=str(tmp_path / "other.pt"))
    assert isinstance(root_cause(caught.value), CheckpointError)
    train(bundle, data, tmp_path / "run", init_weights=str(trained[bundle] / "model.pt"), learning_rate=1e-12)
    start, end = (torch.load(folder / "model.pt", weights_only=True) for folder in (trained[bundle], tmp_path / "run"))
    assert all(torch.allclose(value, end[name], atol=1e-6) for name, value in start.items())


def test_faults_of_the_data_are_typed_errors(bundle: Path, data: Path, tmp_path: Path) -> None:
    """What the config parser wraps around them can be looked through."""
    for config, more, kind, words in (
        ("train", {"datalist": str(tmp_path / "nowhere.json")}, ConfigError, "no datalist there"),
        ("train", {"dataset_dir": str(tmp_path), "datalist": str(data / "datalist.json")}, ConfigError, "not there"),
        ("train", {"out_channels": 2, "label_names": {"0": "background", "1": "all"}}, LabelError, r"\[2.0\]"),
        ("evaluate", {"section": "nobody"}, ConfigError, "no scan to evaluate"),
        ("evaluate", {"section": "tset"}, ConfigError, "no section 'tset'"),
    ):
        where = {"dataset_dir": str(data), "ckpt_dir": str(tmp_path / "x"), "output_dir": str(tmp_path / "x")}
        with pytest.raises((RuntimeError, ConfigError)) as caught:
            run_workflow(bundle, config, settings(bundle, config, **{**where, **more}))
        cause = root_cause(caught.value)
        assert isinstance(cause, kind), caught.value
        assert re.search(words, str(cause)), str(cause)


@pytest.mark.parametrize("config", ["evaluate", "inference"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no weights there"),
        ({"nothing.fits": torch.ones(1)}, "0 of"),
        ([1], "holds a list"),
        ("half", "not used|missing"),
    ],
    ids=["absent", "other network", "no weights", "half of them"],
)
def test_weights_that_do_not_fit_are_typed_errors(
    bundle: Path, data: Path, trained: dict[Path, Path], tmp_path: Path, config: str, content: Any, words: str
) -> None:
    state = torch.load(trained[bundle] / "model.pt", weights_only=True)
    half = dict(list(state.items())[: len(state) // 2])
    if content is not None:
        torch.save(half if content == "half" else content, tmp_path / "model.pt")
    dataset = data if config == "evaluate" else data / "images"
    where = {"dataset_dir": str(dataset), "output_dir": str(tmp_path / "out"), "ckpt_path": str(tmp_path / "model.pt")}
    with pytest.raises((RuntimeError, CheckpointError)) as caught:
        run_workflow(bundle, config, settings(bundle, config, **where))
    assert isinstance(root_cause(caught.value), CheckpointError)
    assert re.search(words, str(root_cause(caught.value)))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_processes(bundle: Path, data: Path, tmp_path: Path) -> None:
    """torchrun on gloo, through the command line: joint batches, one writer, weights without a prefix."""
    files = [str(bundle / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    overrides = settings(bundle, "train", dataset_dir=data, ckpt_dir=tmp_path / "run", output_dir=tmp_path / "run",
                         epoch_iterations=1, batch_size=1)  # fmt: skip
    overrides.pop("device")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m",
               "monai.bundle", "run", "--bundle_root", str(bundle), "--config_file", str(files)]  # fmt: skip
    command += [part for key, value in overrides.items() for part in (f"--{key}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    state = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    ConfigParser(raw(bundle, "train")).get_parsed_content("network_def").load_state_dict(state, strict=True)
    assert not [name for name in state if name.startswith(("module.", "_orig_mod."))]
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["iteration"] == 2
    assert len((tmp_path / "run" / "learning_curve.csv").read_text().splitlines()) == 3
    assert done.stderr.count("Training: 100%") >= 1
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 2, "loss and validation of one process"
