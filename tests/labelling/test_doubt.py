"""Doubt is the entropy where there may be foreground, and the difference to registered labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_semiseg.cli.main import main
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.doubt import Disagreement, disagreement, region_entropy
from monai_semiseg.storage.tables import read_rows


def test_entropy_by_hand() -> None:
    foreground = torch.tensor([0.5, 0.9, 0.01, 0.0])
    found = region_entropy(torch.stack([1 - foreground, foreground]))
    half, tenth = 1.0, -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    assert found == pytest.approx((half + tenth) / 2, abs=1e-6)
    certain = torch.zeros(3, 10)
    certain[0] = 1
    assert region_entropy(certain) == 0
    assert region_entropy(torch.full((3, 10), 1 / 3)) == pytest.approx(1)


def test_disagreement_by_hand() -> None:
    network = torch.tensor([[0.1, 0.1, 0.9, 0.9, 0.9], [0.9, 0.9, 0.1, 0.1, 0.1]])
    registered = torch.tensor([[0.0, 1.0, 1.0, 0.0, float("nan")]])
    assert disagreement(network, registered) == pytest.approx(0.5)
    assert disagreement(network, network[1:]) == pytest.approx(0)


def test_a_model_of_nnunet_cannot_be_compared_with_registration(tmp_path: Path) -> None:
    settings = {"nnunet": {}, "preprocessing#transforms": []}
    with pytest.raises(ConfigError, match="which nnU-Net's plans decide"):
        Disagreement(tmp_path, settings, [], tmp_path, tmp_path / "datalist.json")


@pytest.mark.slow
def test_a_trained_model_is_asked(
    tmp_path: Path, write_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Give every scan a score, equal in equal runs, by its entropy and by registration."""
    folder = write_dataset(tmp_path / "data", scans=7, shape=(26, 32, 24), sizes=(2, 4, 1))
    datalist = str(folder / "datalist.json")
    small = ["--set", "num_workers=0", "--set", "network_def#features=[4,4,4,4,4,4]"]
    asked = ["train", str(folder), "--datalist", datalist, "--iterations", "2", *small]
    assert main([*asked, "--output", str(tmp_path / "run"), "--device", "cpu"]) == 0
    asked = ["select", str(folder), "--count", "4", "--device", "cpu"]
    asked += ["--weights", str(tmp_path / "run"), "--strategy"]
    tables = []
    for name, output in (("uncertainty", "a"), ("uncertainty", "b"), ("disagreement", "c")):
        table = tmp_path / f"{output}.csv"
        assert main([*asked, name, "--already", datalist, "--output", str(table)]) == 0
        tables.append(table.read_bytes())
        rows, _ = read_rows(table)
        assert sorted(row["id"] for row in rows) == ["2", "3", "4", "5"]
        assert all(float(row["score"]) >= 0 and row["strategy"] == name for row in rows)
    assert tables[0] == tables[1] != tables[2]
    (folder / "labels" / "2.nii.gz").unlink()
    asked[3] = "1"
    assert main([*asked, "disagreement", "--output", str(table)]) == 2  # of which labels?
    assert "no labelled scan is given" in capsys.readouterr().err
