"""Every method of configs/methods/ through the bundle: trains, resumes, ships a stock network, starts from weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.utils import set_determinism

from monai_semiseg.inference.workflow import open_workflow, run_workflow

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
METHODS = sorted((BUNDLE / "configs" / "methods").glob("*.yaml"))
SMALL = {"patch_size": [32, 32, 32], "device": "$torch.device('cpu')", "num_workers": 0, "iterations": 3,
         "epoch_iterations": 1}  # fmt: skip
NETWORK = {"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "features": [4] * 6}

pytestmark = pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labelled scans, two without a label, one for validation."""
    root, rng, entries = tmp_path_factory.mktemp("data"), np.random.default_rng(0), []
    for n in range(5):
        label = np.zeros((32, 30, 34), np.uint8)
        label[6:16, 8:20, 5:20], label[12:16, 8:20, 5:15] = 1, 2
        for name, array in (("image", (rng.normal(size=label.shape) + 3 * label).astype(np.float32)), ("label", label)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), root / f"{name}{n}.nii")
        entries.append({"image": f"image{n}.nii", "label": f"label{n}.nii"})
    free = [{"image": entry["image"]} for entry in entries[2:4]]
    content = {"training": entries[:2], "unlabeled": free, "validation": entries[4:]}
    (root / "datalist.json").write_text(json.dumps(content))
    return root


def settings(data: Path, folder: Path, **more: Any) -> dict[str, Any]:
    where = {"dataset_dir": str(data), "ckpt_dir": str(folder), "output_dir": str(folder)}
    return {**SMALL, **where, "network_def": NETWORK, **more}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    set_determinism(None)


def state(folder: Path, name: str = "checkpoint.pt") -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)  # type: ignore[no-any-return]


def test_trains_and_resumes_bit_for_bit(method: Path, data: Path, tmp_path: Path) -> None:
    run_workflow(BUNDLE, "train", settings(data, tmp_path / "whole"), [method])

    def stop(engine: Engine) -> None:
        if engine.state.iteration == 2:
            raise InterruptedError

    workflow = open_workflow(BUNDLE, "train", settings(data, tmp_path / "twice"), [method])
    workflow.initialize()
    workflow.trainer.add_event_handler(Events.ITERATION_STARTED, stop)
    with pytest.raises(RuntimeError):
        workflow.run()
    run_workflow(BUNDLE, "train", settings(data, tmp_path / "twice", resume=True), [method])
    ends = [state(tmp_path / name) for name in ("whole", "twice")]
    for part in {"network", "student", "partner", "auxiliary"} & ends[0].keys():
        assert all(torch.equal(value, ends[1][part][key]) for key, value in ends[0][part].items()), part
    assert ends[0]["iteration"] == 3 and ends[0]["curve"] == ends[1]["curve"]
    assert all(row[1] > 0 for row in ends[0]["curve"]["rows"])


def test_everything_that_learns_is_in_the_checkpoint(method: Path, data: Path, tmp_path: Path) -> None:
    """As many parameters as the optimizer has moments for, and a teacher has a student."""
    run_workflow(BUNDLE, "train", settings(data, tmp_path, iterations=1), [method])
    content = state(tmp_path)
    learning = content.get("student", content["network"])
    count = len(content["optimizer"]["param_groups"][0]["params"])
    kept = [part for part in (learning, content.get("partner"), content.get("auxiliary")) if part]
    assert sum(len(part) for part in kept) == count


def test_ships_a_stock_network(method: Path, data: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    run_workflow(BUNDLE, "train", settings(data, first, iterations=1), [method])
    network = ConfigParser({"n": NETWORK}).get_parsed_content("n")
    network.load_state_dict(state(first, "model.pt"), strict=True)
    start = open_workflow(
        BUNDLE, "train", settings(data, tmp_path / "second", init_weights=str(first / "model.pt")), [method]
    )
    start.initialize()
    seen: dict[str, Any] = {}

    def look(engine: Engine) -> None:
        seen.update({key: value.clone() for key, value in engine.network.state_dict().items()})
        raise InterruptedError

    start.trainer.add_event_handler(Events.ITERATION_STARTED, look)
    with pytest.raises(RuntimeError):
        start.run()
    assert all(torch.equal(value, seen[key]) for key, value in state(first, "model.pt").items())


def test_is_a_short_overlay_that_names_its_paper(method: Path) -> None:
    text = method.read_text()
    content = yaml.safe_load(text)
    assert len(text.splitlines()) <= 30 and text.startswith("#") and f"methods/{method.stem}.yaml" in text
    target = content["+train#trainer"]["_target_"]
    known = yaml.safe_load((BUNDLE / "configs" / "train.json").read_text())
    new = {key for key in content if key.lstrip("+").split("#")[0] not in known}
    used = {key for key in new if f"@{key}" in text}
    assert target.startswith("monai_semiseg.engines.") and new == used
    assert content["train#dataloader#dataset"] == "@train#paired_draws"
