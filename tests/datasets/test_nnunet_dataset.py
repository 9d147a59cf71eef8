"""Channels and labels in the dataset.json of nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.datasets.nnunet_dataset import read_nnunet_dataset
from monai_semiseg.errors import ConfigError
from tests.nnunet_builders import dataset_content, write_folder


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
