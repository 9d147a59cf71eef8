"""Plans of nnU-Net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.datasets.nnunet_plans import read_plans, split_configuration
from monai_semiseg.errors import ConfigError
from tests.nnunet_builders import configuration, plans_content, write_folder


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
