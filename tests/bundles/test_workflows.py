"""Workflows of every bundle before they run: their properties and network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.properties import InferProperties, TrainProperties
from monai.transforms import RandomizableTrait

from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.datasets.fingerprint import Fingerprint
from monai_semiseg.datasets.plan import plan

WORKFLOWS = ("train", "evaluate", "inference")
Raw = Callable[[Path, str], dict[str, Any]]
Settings = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("config", WORKFLOWS)
def test_workflow_initialises_and_has_every_property(
    bundle: Path, data: Path, tmp_path: Path, config: str, settings: Settings
) -> None:
    kind, properties = (
        ("train", TrainProperties) if config == "train" else ("infer", InferProperties)
    )
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / f"{config}.json"),
        workflow_type=kind,
        bundle_root=str(bundle),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        **settings(bundle, config, data, tmp_path),
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    for name, prop in properties.items():
        if prop["required"]:
            assert prop["id"] in workflow.parser, name
            assert getattr(workflow, name) is not None, name


def test_initialising_needs_no_data_and_no_weights(
    bundle: Path, tmp_path: Path, settings: Settings
) -> None:
    """Initialise without data: MONAI Label, MONAI FL and ``load`` set paths afterwards."""
    for config in WORKFLOWS:
        open_workflow(bundle, config, settings(bundle, config, tmp_path / "nowhere")).initialize()


def test_everything_that_is_not_random_is_cached(
    bundle: Path, data: Path, tmp_path: Path, settings: Settings, raw: Raw
) -> None:
    """Check for nested Compose: CacheDataset takes it as random, and caches nothing after it."""
    for file in [
        bundle / "configs" / "train.json",
        *sorted((bundle / "configs").glob("pretrain*.json")),
    ]:
        workflow = open_workflow(bundle, file.stem, settings(bundle, file.stem, data, tmp_path))
        workflow.initialize()
        train = raw(bundle, file.stem)["train"]
        for name in [
            "train#dataset",
            *(["train#unlabelled#dataset"] if "unlabelled" in train else []),
        ]:
            dataset = workflow.parser.get_parsed_content(name)
            assert len(dataset) > 0
            assert not [
                step for step in dataset.transform.transforms if isinstance(step, RandomizableTrait)
            ]


@pytest.mark.parametrize("config", WORKFLOWS)
def test_network_is_what_the_metadata_says(bundle: Path, config: str, raw: Raw) -> None:
    files = {
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / f"{config}.json"),
    }
    monai.bundle.verify_net_in_out("network_def", device="cpu", **files)
    parser = ConfigParser(raw(bundle, config))
    image = torch.zeros(1, parser["in_channels"], *parser["patch_size"])
    with torch.no_grad():
        output = parser.get_parsed_content("network_def").eval()(image)
    channels = raw(bundle, "metadata")["network_data_format"]["outputs"]["pred"]["num_channels"]
    assert output.shape == (1, channels, *image.shape[2:])


@pytest.mark.parametrize(
    "shape", [(20, 18, 12), (9, 9, 9), (300, 300, 5), (24, 40, 24), (1, 40, 40)], ids=str
)
def test_network_takes_the_patch_of_any_plan(
    bundle: Path, shape: tuple[int, ...], raw: Raw
) -> None:
    """Check that no stage shrinks to nothing or to one voxel (instance norm needs more)."""
    fingerprint = Fingerprint(
        "MRI", np.ones((1, 3)), np.array([shape]), np.ones((1, 1, 3)), None, {0: "none", 1: "a"}, {}
    )
    planned = plan(fingerprint, memory=1200 * 64**3)
    parser = ConfigParser({**raw(bundle, "train"), **planned})
    with torch.no_grad():
        output = parser.get_parsed_content("network_def")(torch.zeros(1, 1, *planned["patch_size"]))
    assert output.shape == (1, 2, *planned["patch_size"])
