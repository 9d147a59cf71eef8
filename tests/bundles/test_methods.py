"""Methods of configs/methods/: training, resume, stock network, initial weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ignite.engine import Engine, Events
from monai.networks.nets import BasicUNet

from monai_semiseg.bundles.workflow import open_workflow, run_workflow

from .conftest import SHAPE

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
METHODS = sorted((BUNDLE / "configs" / "methods").glob("*.yaml"))
FEATURES = [4] * 6
Settings = Callable[..., dict[str, Any]]

# One method after the other, so that one worker has all tests of a training.
pytestmark = pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem, scope="module")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_dataset: Callable[..., Path]) -> Path:
    """Create two labelled scans, two without a label, one for validation."""
    return write_dataset(tmp_path_factory.mktemp("data"), shape=SHAPE, sizes=(2, 2, 1))


@pytest.fixture(scope="module")
def small(settings: Settings, data: Path) -> Settings:
    """Return the settings of a training of a small network by folder."""
    few = {"iterations": 2, "epoch_iterations": 1, "network_def#features": FEATURES}
    return lambda folder, **more: settings(BUNDLE, "train", data, folder, **{**few, **more})


@pytest.fixture(scope="module")
def whole(method: Path, small: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a training that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)  # as in the tests: sums depend on the number of threads
    run_workflow(BUNDLE, "train", small(folder), [method])
    return folder


def state(folder: Path, name: str = "checkpoint.pt") -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.slow
def test_trains_and_resumes_bit_for_bit(
    method: Path, whole: Path, tmp_path: Path, small: Settings
) -> None:
    def stop(engine: Engine) -> None:
        if engine.state.iteration == 2:
            raise InterruptedError

    workflow = open_workflow(BUNDLE, "train", small(tmp_path), [method])
    workflow.initialize()
    workflow.trainer.add_event_handler(Events.ITERATION_STARTED, stop)
    with pytest.raises(RuntimeError):
        workflow.run()
    run_workflow(BUNDLE, "train", small(tmp_path, resume=True), [method])
    ends = [state(folder) for folder in (whole, tmp_path)]
    for part in {"network", "student", "partner", "auxiliary"} & ends[0].keys():
        assert all(
            torch.equal(value, ends[1][part][key]) for key, value in ends[0][part].items()
        ), part
    assert ends[0]["iteration"] == 2 and ends[0]["curve"] == ends[1]["curve"]
    assert all(row[1] > 0 for row in ends[0]["curve"]["rows"])


def test_everything_that_learns_is_in_the_checkpoint(whole: Path) -> None:
    """Check that all optimised parameters, and a teacher's, are in the checkpoint."""
    content = state(whole)
    learning = content.get("student", content["network"])
    count = len(content["optimizer"]["param_groups"][0]["params"])
    kept = [part for part in (learning, content.get("partner"), content.get("auxiliary")) if part]
    assert sum(len(part) for part in kept) == count


def test_ships_a_stock_network(method: Path, whole: Path, tmp_path: Path, small: Settings) -> None:
    shipped = state(whole, "model.pt")
    BasicUNet(3, 1, 3, FEATURES).load_state_dict(shipped, strict=True)
    asked = small(tmp_path, init_weights=str(whole / "model.pt"))
    start = open_workflow(BUNDLE, "train", asked, [method])
    start.initialize()
    seen: dict[str, Any] = {}

    def look(engine: Engine) -> None:
        seen.update({key: value.clone() for key, value in engine.network.state_dict().items()})
        raise InterruptedError

    start.trainer.add_event_handler(Events.ITERATION_STARTED, look)
    with pytest.raises(RuntimeError):
        start.run()
    assert all(torch.equal(value, seen[key]) for key, value in shipped.items())


def test_is_a_short_overlay_that_names_its_paper(method: Path) -> None:
    text = method.read_text()
    content = yaml.safe_load(text)
    assert (
        len(text.splitlines()) <= 30
        and text.startswith("#")
        and f"methods/{method.stem}.yaml" in text
    )
    target = content["+train#trainer"]["_target_"]
    known = yaml.safe_load((BUNDLE / "configs" / "train.json").read_text())
    new = {key for key in content if key.lstrip("+").split("#")[0] not in known}
    used = {key for key in new if f"@{key}" in text}
    assert target.startswith("monai_semiseg.engines.") and new == used
    assert content["train#dataloader#dataset"] == "@train#paired_samples"
