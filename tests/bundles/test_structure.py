"""Files of every bundle: metadata, versions, shared config parts, shipped weights."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.bundle.properties import MetaProperties

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ("train", "evaluate", "inference")
MODEL = (
    "spatial_dims",
    "in_channels",
    "out_channels",
    "label_names",
    "spacing",
    "patch_size",
    "intensity",
    "network_def",
)
SHARED = (
    *MODEL,
    "network",
    "inferer",
    "overlap",
    "sides",
    "mirror_axes",
    "training_scans",
    "flip_left_right",
    "preprocessing",
    "postprocessing",
)
TARGETS = re.compile(
    r"(monai_semiseg\.[\w.]+|torch\.(optim|nn)\.[\w.]+|[A-Z]\w+|\$lambda: @[\w#]+)"
)
# One name to a line: of several, MONAI's parser imports the first.
IMPORTS = re.compile(
    r"\$(import (torch|os|torch\.distributed as dist)"
    r"|from (monai_semiseg[\w.]*|pathlib) import \w+)"
)
CALLS = re.compile(
    r"__|\b(eval|exec|compile|open|system|popen|getattr|input)\s*\("
    r"|\b(subprocess|requests|urllib|socket)\b"
)
Raw = Callable[[Path, str], dict[str, Any]]


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "docs/README.md",
        "docs/data_license.txt",
        "configs/metadata.json",
        "configs/train.json",
        "configs/inference.json",
        "configs/evaluate.json",
        "configs/multi_gpu_train.json",
        "configs/logging.conf",
    ],
)
def test_files(bundle: Path, name: str) -> None:
    assert (bundle / name).stat().st_size > 100


def test_metadata(bundle: Path, raw: Raw) -> None:
    meta = raw(bundle, "metadata")
    required = {
        "schema",
        "version",
        "changelog",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "required_packages_version",
        "name",
        "task",
        "description",
        "authors",
        "copyright",
        "data_source",
        "data_type",
        "image_classes",
        "label_classes",
        "pred_classes",
        "intended_use",
        "references",
        "network_data_format",
    }
    assert required <= set(meta)
    assert all(
        prop["id"].split("::")[-1] in meta for prop in MetaProperties.values() if prop["required"]
    )
    assert meta["version"] in meta["changelog"]
    image, pred = (
        meta["network_data_format"][way][name]
        for way, name in (("inputs", "image"), ("outputs", "pred"))
    )
    keys = {
        "type",
        "format",
        "num_channels",
        "spatial_shape",
        "dtype",
        "value_range",
        "is_patch_data",
        "channel_def",
    }
    assert keys <= set(image) and keys <= set(pred)
    config = raw(bundle, "inference")
    assert image["num_channels"] == config["in_channels"]
    assert pred["num_channels"] == config["out_channels"] == len(pred["channel_def"])
    assert pred["channel_def"] == config["label_names"]


def test_metadata_names_the_versions_that_are_tested(bundle: Path, raw: Raw) -> None:
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    pins = {name.lower(): version for name, version in pins.items()}
    meta = raw(bundle, "metadata")
    stated = {
        **meta["required_packages_version"],
        "monai": meta["monai_version"],
        "torch": meta["pytorch_version"],
        "numpy": meta["numpy_version"],
    }
    assert {name: pins.get(name.lower()) for name in stated} == stated


def test_what_the_workflows_share_is_equal(bundle: Path, raw: Raw) -> None:
    configs = [raw(bundle, config) for config in WORKFLOWS]
    for key in SHARED:
        values = [config[key] for config in configs if key in config]
        if (
            key == "preprocessing"
        ):  # evaluation reads the label, too, and keeps a copy of the scan for pictures
            values = [
                [step for step in value["transforms"] if "label" not in json.dumps(step)]
                for value in values
            ]
            values = [
                [
                    step
                    for step in value
                    if isinstance(step, str) or step["_target_"] in ("Orientationd", "Spacingd")
                ]
                for value in values
            ]
        if key == "postprocessing":  # inference may keep the uncertainty, too
            values = [[step["_target_"] for step in value["transforms"]] for value in values]
        assert all(value == values[0] for value in values), key
    assert all(set(MODEL) <= set(config) for config in configs)
    assert {"inferer", "postprocessing"} <= set(configs[1]) & set(configs[2])


def test_one_key_for_the_precision_of_all_workflows(bundle: Path, raw: Raw) -> None:
    """Check that training, validation, evaluation and prediction use one precision key."""
    asked = "@autocast_dtype"
    for name in sorted(file.stem for file in (bundle / "configs").glob("*.json")):
        config = raw(bundle, name)
        assert config.get("autocast_dtype", "auto") == "auto", name
        assert '"amp' not in json.dumps(config), name
        found = []
        if name in ("evaluate", "inference"):
            found.append(config["evaluator"]["inferer"])
        elif name == "train":  # MONAI wants a reference to validate#inferer in the evaluator
            assert config["validate"]["evaluator"]["inferer"] == "@validate#inferer"
            found.append(config["validate"]["inferer"])
        for inferer in found:
            assert inferer["_target_"].endswith("AutocastInferer"), name
            assert inferer["autocast_dtype"] == asked, name
            assert inferer["device"] == "@device", name
    for file in (bundle / "configs").rglob("*.yaml"):  # whose inferer goes inside of that one
        assert not re.search(r"^validate#inferer:", file.read_text(), re.MULTILINE), file
    assert raw(bundle, "train")["train"]["trainer"]["autocast_dtype"] == asked
    assert raw(bundle, "inference")["runner"]["autocast_dtype"] == asked


def test_configs_run_no_code_but_ours_and_monais(bundle: Path) -> None:
    """Check the configs as text: only code of ours and MONAI's is in them."""

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
            elif key.lstrip("+") == "imports":
                assert IMPORTS.fullmatch(text), (file.name, text)
            elif text.startswith("$"):
                assert not CALLS.search(text), (file.name, text)


def test_shipped_weights_fit(bundle: Path, raw: Raw) -> None:
    shipped = bundle / "models" / "model.pt"
    network = ConfigParser(raw(bundle, "inference")).get_parsed_content("network_def")
    network.load_state_dict(torch.load(shipped, weights_only=True), strict=True)
    assert shipped.stat().st_size < 25e6, "the model zoo's limit for files in git"


def test_what_the_package_has_to_say_is_shown(bundle: Path) -> None:
    """Check that our INFO messages are shown, and only warnings of others."""
    log = configparser.ConfigParser(interpolation=None)
    log.read(bundle / "configs" / "logging.conf")
    assert log["logger_semiseg"]["qualname"] == "monai_semiseg" and "semiseg" in log["loggers"][
        "keys"
    ].split(",")
    assert log["logger_semiseg"]["level"] == log["handler_consoleHandler"]["level"] == "INFO"
    assert log["logger_root"]["level"] == "WARNING"


def test_labels_come_onto_the_grid_of_their_image_as_soon_as_they_are_loaded(bundle: Path) -> None:
    """Check in all configs that labels get their image's grid before any affine changes."""

    def lists(node: Any) -> Iterator[list[Any]]:
        if isinstance(node, list):
            yield node
        for value in node.values() if isinstance(node, dict) else node:
            if isinstance(value, dict | list):
                yield from lists(value)

    together = 0
    for file in sorted((bundle / "configs").rglob("*.[jy][sa][om]*")):
        for steps in lists(ConfigParser.load_config_file(file)):
            for place, step in enumerate(steps):
                if isinstance(step, dict) and step.get("_target_") == "LoadImaged":
                    if "label" not in step["keys"]:
                        continue
                    together += 1
                    follow = [str(other["_target_"]) for other in steps[place + 1 : place + 3]]
                    grid = "monai_semiseg.transforms.grids.LabelOnImageGridd"
                    assert follow == ["EnsureChannelFirstd", grid], file
    assert together >= 2, "training and evaluation"
