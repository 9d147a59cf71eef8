"""Benchmarks compare equal computations and measure correctly; speed is not tested."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from monai_semiseg.benchmarks import contrastive, hebbian, measure
from monai_semiseg.benchmarks.measure import Row, compare, peak_memory, table
from monai_semiseg.hebbian.geometry import Geometry
from monai_semiseg.hebbian.plasticity import observe, terms
from monai_semiseg.hebbian.rules import SoftWinnerTakeAll


def test_peak_memory_sees_what_is_freed_again() -> None:
    def way() -> None:
        torch.ones(16 << 20).sum()
        time.sleep(0.02)

    assert 55 < peak_memory(way) < 90


def test_ways_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return the median of the timed turns; the warm-up turn is not timed."""
    now, lasts = [0.0], iter([50.0, 3.0, 9.0, 4.0, 50.0])

    def way() -> None:
        now[0] += next(lasts)

    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    rows = compare({"slow": way, "fast": lambda: None}, repeat=3)
    assert [(row.name, row.seconds) for row in rows] == [("slow", 4.0), ("fast", 0.0)]


def test_a_table_of_ways() -> None:
    assert "| fast | 0.5000 | 10 | 0.250 | 0.500 |" in table(
        [Row("slow", 2, 20), Row("fast", 0.5, 10)], "slow"
    )


def test_the_textbook_form_is_the_same_update() -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(3, 4, 3, padding=1).double()
    images = torch.randn(2, 3, 5, 6, 4, dtype=torch.float64)
    with torch.no_grad():
        output = layer(images)
        slow = hebbian.unfolded(images, output, layer.weight, 5.0)
    rule = SoftWinnerTakeAll(5.0, balanced=False)
    sums = observe(rule, Geometry.of(layer), images, output, centre=False, standardise=False)
    correlation, decay, _ = terms(rule, sums, layer.weight.detach())
    torch.testing.assert_close((correlation - decay).flatten(1), slow, rtol=0, atol=1e-12)


def once_on_the_cpu(output: Path) -> list[str]:
    return ["--output", str(output), "--repeat", "1", "--device", "cpu"]


@pytest.mark.slow
def test_tables_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--size", "8", "--network_size", "32"]
    monkeypatch.setattr(sys, "argv", ["hebbian", *sizes, *once_on_the_cpu(tmp_path)])
    hebbian.main()
    assert "| SoftHebb |" in capsys.readouterr().out
    for name, ways in (("hebbian_update", 4), ("hebbian_step", 3)):
        with (tmp_path / f"{name}.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == ways and all(
            float(row["seconds"]) > 0 and row["torch"] == torch.__version__ for row in rows
        )


def test_the_dense_contrast_is_the_same_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    value, gradient = contrastive.agreement(60, 8)
    assert value < 1e-10 and gradient < 1e-10
    sizes = ["--size", "64", "--sizes", "32"]
    monkeypatch.setattr(sys, "argv", ["contrastive", *sizes, *once_on_the_cpu(tmp_path)])
    contrastive.main()
    assert "| streamed |" in capsys.readouterr().out
    assert (tmp_path / "contrastive.csv").is_file() and (
        tmp_path / "contrastive_sizes.csv"
    ).is_file()
