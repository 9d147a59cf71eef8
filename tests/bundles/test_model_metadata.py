"""Metadata of weights that a user trained: right by MONAI's schema, and no word of ours."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from monai.bundle import ConfigParser

from monai_semiseg.bundles.model_metadata import model_metadata

SCHEMA = json.loads((Path(__file__).parent / "metadata_schema.json").read_text())
SETTINGS: dict[str, Any] = {
    "spatial_dims": 2,
    "in_channels": 3,
    "out_channels": 3,
    "channel_names": ["red", "green", "blue"],
    "label_names": {"0": "background", "10": "lumen", "4": "gland"},
    "patch_size": [96, 64],
    "training_scans": {"modality": None},
}


def test_it_says_what_the_users_network_takes_and_gives(bundle: Path, tmp_path: Path) -> None:
    meta = model_metadata(bundle, SETTINGS)
    jsonschema.validate(meta, SCHEMA)
    (tmp_path / "metadata.json").write_text(json.dumps(meta))
    parser = ConfigParser()
    parser.read_meta(str(tmp_path / "metadata.json"))
    form = parser["_meta_"]["network_data_format"]
    assert form["inputs"]["image"]["channel_def"] == {"0": "red", "1": "green", "2": "blue"}
    assert form["inputs"]["image"]["num_channels"] == 3
    assert form["inputs"]["image"]["spatial_shape"] == [96, 64]
    classes = {"0": "background", "1": "gland", "2": "lumen"}
    assert form["outputs"]["pred"]["channel_def"] == classes
    assert meta["label_classes"] == "0: background, 4: gland, 10: lumen"
    assert meta["numpy_version"] == importlib.metadata.version("numpy")


def test_nothing_of_the_shipped_weights_is_said_of_others(bundle: Path) -> None:
    text = json.dumps(model_metadata(bundle, SETTINGS)).lower()
    for word in ("hippocampus", "anterior", "decathlon", "sha256", "mean_dice", "arxiv"):
        assert word not in text, word


@pytest.mark.parametrize(("modality", "form"), [("CT", "hounsfield"), ("MR", "magnitude")])
def test_the_modality_of_the_training_scans(bundle: Path, modality: str, form: str) -> None:
    meta = model_metadata(bundle, {**SETTINGS, "training_scans": {"modality": modality}})
    image = meta["network_data_format"]["inputs"]["image"]
    assert (image["modality"], image["format"]) == (modality, form)


def test_none_is_made_up_where_little_is_known(bundle: Path, tmp_path: Path) -> None:
    assert model_metadata(tmp_path, SETTINGS) == {}
    assert model_metadata(bundle, {"patch_size": [96, 64]}) == {}
