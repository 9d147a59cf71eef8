"""What the tests of the bundles share: where they run, every bundle in turn, small scans, small settings."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.utils import set_determinism

from monai_semiseg.bundles.workflow import run_workflow

BUNDLES = sorted(
    path.parent for path in (Path(__file__).resolve().parents[2] / "bundles").glob("*/configs")
)


@pytest.hookimpl(trylast=True)  # whatever else a test is parametrised over comes first in its id
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whoever asks for ``bundle`` gets every bundle in turn."""
    if "bundle" in metafunc.fixturenames and not hasattr(metafunc.module, "bundle"):
        metafunc.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Another working directory than the repository, where nothing may land; one thread, since sums depend on it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with contextlib.chdir(folder):
        yield
    torch.set_num_threads(threads)
    set_determinism(None)
    assert not list(folder.iterdir())


@pytest.fixture(scope="session")
def raw() -> Callable[[Path, str], dict[str, Any]]:
    """Bundle, name of a config -> its content."""
    return lambda bundle, name: json.loads((bundle / "configs" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def settings(raw: Callable[[Path, str], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Bundle, name of a config, data, where to write -> overrides for a small run, those that the config knows."""

    def small(
        bundle: Path, config: str, data: Path, folder: Path | None = None, **more: Any
    ) -> dict[str, Any]:
        known = raw(bundle, config)
        where = {} if folder is None else {"ckpt_dir": str(folder), "output_dir": str(folder)}
        asked = {
            "dataset_dir": str(data),
            **where,
            "patch_size": [32, 32, 32],
            "device": "$torch.device('cpu')",
            "num_workers": 0,
            "iterations": 2,
            **more,
        }
        return {key: value for key, value in asked.items() if key.split("#")[0] in known}

    return small


@pytest.fixture(scope="session")
def data(write_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans train, one is unlabelled, one validates and two test, the last of which is small."""
    return write_dataset(tmp_path_factory.mktemp("data"), scans=6, small_last=True)


@pytest.fixture(scope="session")
def trained(
    data: Path, settings: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], Path]:
    """Bundle -> folder with the weights of two iterations, trained when they are first asked for."""

    @functools.cache
    def train(bundle: Path) -> Path:
        folder = tmp_path_factory.mktemp(bundle.name)
        run_workflow(bundle, "train", settings(bundle, "train", data, folder))
        return folder

    return train
