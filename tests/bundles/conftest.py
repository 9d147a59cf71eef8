"""Fixtures of the bundles' tests: working folder, bundles, small scans, small settings."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from monai.utils import set_determinism

from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.errors import SemisegError, root_cause

BUNDLES = sorted(
    path.parent for path in (Path(__file__).resolve().parents[2] / "bundles").glob("*/configs")
)


@pytest.hookimpl(trylast=True)  # whatever else a test is parametrised over comes first in its id
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with the argument ``bundle`` for every bundle."""
    if "bundle" in metafunc.fixturenames and not hasattr(metafunc.module, "bundle"):
        metafunc.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


@pytest.fixture(autouse=True)
def elsewhere(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Change to another working directory, and check that it stays empty; use one thread."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with contextlib.chdir(folder):
        yield
    set_determinism(None)
    assert not list(folder.iterdir())


@pytest.fixture(scope="session")
def raw() -> Callable[[Path, str], dict[str, Any]]:
    """Return a function: bundle, name of a config -> its content."""
    return lambda bundle, name: json.loads((bundle / "configs" / f"{name}.json").read_text())


# The smallest patch that the networks take, of two voxels in the lowest stage, and scans that are a
# little larger: a step costs what its voxels cost.
PATCH = [32, 16, 16]
SHAPE = (34, 22, 20)
# For tests whose subject is not the network: one with few features, which no shipped weights fit.
FEW_FEATURES = {
    "network_def#features": [4] * 6,
    "teacher_features": [4] * 6,
    "init_weights": None,
}
THREE_STEPS = {"iterations": 3, "epoch_iterations": 1, "batch_size": 2}


def require_refused(bundle: Path, stage: str, asked: dict[str, Any], words: str) -> None:
    """Require that a typed error with these words stops a training before it has weights."""
    with pytest.raises(RuntimeError) as caught:
        run_workflow(bundle, stage, asked)
    cause = root_cause(caught.value)
    assert isinstance(cause, SemisegError)
    assert words in str(cause)
    assert not (Path(asked["ckpt_dir"]) / "model.pt").exists()


@pytest.fixture(scope="session")
def settings(raw: Callable[[Path, str], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return a function that gives the settings of a small run, as far as the config has them.

    Its arguments are bundle, name of a config, data and output folder.
    """

    def small(
        bundle: Path, config: str, data: Path, folder: Path | None = None, **more: Any
    ) -> dict[str, Any]:
        known = raw(bundle, config)
        where = {} if folder is None else {"ckpt_dir": str(folder), "output_dir": str(folder)}
        asked = {
            "dataset_dir": str(data),
            **where,
            "patch_size": PATCH,
            "device": "$torch.device('cpu')",
            "num_workers": 0,
            "iterations": 2,
            **more,
        }
        return {key: value for key, value in asked.items() if key.split("#")[0] in known}

    return small


@pytest.fixture(scope="session")
def data(write_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a data set: two scans train, one is unlabelled, one validates, two test."""
    return write_dataset(tmp_path_factory.mktemp("data"), 6, SHAPE, small_last=True)


@pytest.fixture(scope="session")
def trained(
    data: Path, settings: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], Path]:
    """Return a function: bundle -> folder with the weights of two iterations, trained once."""

    @functools.cache
    def train(bundle: Path) -> Path:
        folder = tmp_path_factory.mktemp(bundle.name)
        run_workflow(bundle, "train", settings(bundle, "train", data, folder))
        return folder

    return train
