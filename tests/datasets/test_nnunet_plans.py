"""Plans and dataset.json of nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.datasets.nnunet_plans import (
    nnunet_module,
    read_nnunet_dataset,
    read_plans,
    split_configuration,
)
from monai_semiseg.errors import ConfigError
from tests.nnunet_builders import configuration, dataset_content, plans_content, write_folder


def test_plans_say_what_a_training_needs(tmp_path: Path) -> None:
    file = write_folder(tmp_path)
    plans = read_plans(file)
    assert plans.configuration == "3d_fullres"
    assert (plans.spatial_dims, plans.patch_size, plans.spacing) == (3, [8, 16, 12], [2, 1.5, 1])
    flat = read_plans(*split_configuration(f"{file}:2d"))
    assert (flat.spatial_dims, flat.patch_size, flat.batch_size) == (2, [16, 12], 2)
    assert list(flat.content["configurations"]) == ["2d"]


def test_a_configuration_inherits(tmp_path: Path) -> None:
    content = plans_content()
    content["configurations"]["small"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    plans = read_plans(write_folder(tmp_path, content), "small")
    assert (plans.batch_size, plans.patch_size) == (7, [8, 16, 12])


def test_two_dimensions_are_the_default_where_there_are_no_others(tmp_path: Path) -> None:
    content = plans_content(configurations={"2d": configuration(dims=2)})
    assert read_plans(write_folder(tmp_path, content)).configuration == "2d"


def _with(name: str, value: Any, key: str | None = None) -> dict[str, Any]:
    content = plans_content()
    node = content if key is None else content["configurations"][key]
    node[name] = value
    return content


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"plans_per_stage": {"0": {}}}, "plans of nnU-Net v1"),
        ({"format": 3}, "plans of no version known here"),
        (_with("architecture", {"network_class_name": "a.b.Primus"}, "3d_fullres"), "has a Primus"),
        (_with("architecture", {"network_class_name": "UMambaBot"}, "3d_fullres"), "a UMambaBot"),
        (_with("previous_stage", "3d_lowres", "3d_fullres"), "second stage of a cascade"),
        (_with("plans_name", "$__import__('os')"), "code in a MONAI config"),
        (_with("configurations", {"3d_fullres": {"_target_": "os.system"}}), "code in a MONAI"),
        (_with("spacing", [1.0], "3d_fullres"), "cannot be read"),
        (_with("configurations", {"3d_fullres": {}}), "cannot be read"),
    ],
    ids=["v1", "unknown", "primus", "mamba", "cascade", "code", "target", "spacing", "empty"],
)
def test_other_plans_are_refused(tmp_path: Path, content: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        read_plans(write_folder(tmp_path, content))


def test_a_configuration_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration '3d_lowres'(.|\n)*2d, 3d_fullres"):
        read_plans(write_folder(tmp_path), "3d_lowres")


def test_plans_that_are_no_json_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "nnUNetPlansv2.1_plans_3D.pkl"
    file.write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match="is no JSON"):
        read_plans(file)
    with pytest.raises(ConfigError, match="no such file"):
        read_plans(tmp_path / "absent.json")


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'monai_semiseg\[nnunet\]'"):
        nnunet_module("nnunetv2_of_another_planet.plans")


def test_channels_are_ordered_by_number_and_labels_named(tmp_path: Path) -> None:
    channels = {str(n): f"c{n}" for n in (10, 2, 0, 1)}
    labels = {"background": 0, "b": 2, "a": 1, "ignore": 3}
    write_folder(tmp_path, dataset=dataset_content(channel_names=channels, labels=labels))
    found = read_nnunet_dataset(tmp_path / "dataset.json")
    assert found.channel_names == ("c0", "c1", "c2", "c10")
    assert found.label_names == {"0": "background", "1": "a", "2": "b"}
    assert found.out_channels == 3


def test_regions_have_the_numbers_that_they_are_written_with(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    content = dataset_content(labels=labels, regions_class_order=[1, 2, 3])
    write_folder(tmp_path, dataset=content)
    found = read_nnunet_dataset(tmp_path / "dataset.json")
    assert found.label_names == {"0": "background", "1": "whole", "2": "core", "3": "enhancing"}
    assert found.out_channels == 3
    assert found.as_json["regions_class_order"] == [1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [{}, {"channel_names": {"0": "a"}, "labels": {"background": 0}}, {"channel_names": 3}],
    ids=["empty", "no_label", "no_channels"],
)
def test_other_dataset_files_are_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"dataset\.json"):
        read_nnunet_dataset(tmp_path / "dataset.json")
