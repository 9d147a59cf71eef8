"""Table of propagated labels: all sources, and correct means."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet

from monai_semiseg.benchmarks import propagation
from monai_semiseg.benchmarks.pseudo_labels import mean_dice


def test_every_way_is_measured() -> None:
    torch.manual_seed(0)
    label = torch.randint(0, 3, (1, 1, 6, 6)).float()
    carried, first, second = (torch.softmax(torch.randn(1, 3, 6, 6), 1) for _ in range(3))
    networks = {"a": lambda _: first.log(), "b": lambda _: second.log()}
    scan = {"image": torch.zeros(1, 1, 6, 6), "label": label}
    dice, seconds = propagation.measure(
        lambda item: {**item, "propagated": carried[0, 1:]}, networks, [scan, scan]
    )
    expected = {
        "propagated": carried,
        "a": first,
        "b": second,
        "mean of the networks": (first + second) / 2,
        "mean of propagated and first network": (carried + first) / 2,
    }
    assert (
        dice == {name: pytest.approx(mean_dice(p, label)) for name, p in expected.items()}
        and seconds >= 0
    )


def test_command(
    tmp_path: Path,
    write_dataset: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_dataset(tmp_path / "data")
    torch.save(BasicUNet(3, 1, 3, (16, 16, 32, 64, 128, 16)).state_dict(), tmp_path / "model.pt")
    asked = [
        str(data),
        "--datalist",
        str(data / "datalist.json"),
        "--weights",
        str(tmp_path / "model.pt"),
        "--scans",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", ["propagation", *asked, "--output", str(tmp_path)])
    propagation.main()
    assert "| propagated | 0." in capsys.readouterr().out
    assert len((tmp_path / "propagation.csv").read_text().splitlines()) == 4
