"""Augmentation by registration: the overlay trains, resumes, and goes with a method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_semiseg.bundles.workflow import open_workflow, run_workflow
from monai_semiseg.errors import ConfigError, root_cause

from .conftest import SHAPE

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
OVERLAY = BUNDLE / "configs" / "registration_augmentation.yaml"
METHOD = BUNDLE / "configs" / "methods" / "cutmix_mean_teacher.yaml"
WARPS = {"warps_per_scan": 2}  # known to the overlay alone
Settings = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def small(
    settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
    write_dataset: Callable[..., Path],
) -> Settings:
    """Return the settings of a training of a small network, three scans without a label."""
    data = write_dataset(tmp_path_factory.mktemp("data"), shape=SHAPE, sizes=(2, 3, 1))
    few = {"iterations": 2, "epoch_iterations": 1, "network_def#features": [4] * 6}
    return lambda folder, **more: settings(BUNDLE, "train", data, folder, **{**few, **more})


def test_half_of_the_samples_are_warped(small: Settings, tmp_path: Path) -> None:
    workflow = open_workflow(BUNDLE, "train", small(tmp_path) | WARPS, [OVERLAY])
    workflow.initialize()
    get = workflow.parser.get_parsed_content
    samples, labelled, warped = (get(f"train#{key}") for key in ("samples", "dataset", "warped"))
    assert (len(labelled), len(warped), len(samples.dataset)) == (2, 4, 8)
    shown = list(samples.dataset)
    assert sum(any(one is item for item in labelled) for one in shown) in (0, 4)
    targets = [item["image"].affine for item in get("train#unlabelled#dataset")]
    for item in warped:
        assert any(torch.equal(item["image"].affine, affine) for affine in targets)
        assert item["label"].unique().tolist() == [0, 1, 2]


def test_trains_beside_a_method_and_again(small: Settings, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_workflow(BUNDLE, "train", small(tmp_path / name) | WARPS, [METHOD, OVERLAY])
    one, two = (torch.load(tmp_path / n / "model.pt", weights_only=True) for n in ("one", "two"))
    assert all(torch.equal(value, two[key]) for key, value in one.items())
    run_workflow(BUNDLE, "train", small(tmp_path / "plain"), [METHOD])
    plain = torch.load(tmp_path / "plain" / "model.pt", weights_only=True)
    assert not all(torch.equal(value, plain[key]) for key, value in one.items())


def test_a_datalist_without_such_scans_is_refused(
    settings: Settings, write_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data", shape=SHAPE, sizes=(1, 0, 1))
    asked = settings(BUNDLE, "train", data, tmp_path, iterations=2, epoch_iterations=1)
    with pytest.raises(RuntimeError) as caught:
        run_workflow(BUNDLE, "train", asked, [OVERLAY])
    cause = root_cause(caught.value)
    assert isinstance(cause, ConfigError) and "no scan without a label" in str(cause)
