"""Names from outside command no terminal."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "a\x1b]0;title\x07\x9b2J\u202e.nii"


def harmless(text: str) -> bool:
    """Return whether no command is there but a progress bar's carriage returns and line ends."""
    return all(char.isprintable() or char in "\n\r" for char in text.replace("\x1b[A", ""))


def test_check_and_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    nib.save(
        nib.Nifti1Image(np.eye(8)[None].repeat(4, 0), np.eye(4)), tmp_path / "images" / "good.nii"
    )
    (tmp_path / "images" / HOSTILE).write_bytes(b"no scan")
    assert main(["check", str(tmp_path)]) == 2
    assert main(["plan", str(tmp_path), "--output", str(tmp_path / "plan.yaml")]) == 3
    said = capsys.readouterr()
    assert "E_NOT_NIFTI" in said.out and "left out: " in said.err
    assert "\\x1b]0;title\\x07\\x9b2J\\u202e" in said.out
    assert harmless(said.out) and harmless(said.err)


def test_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / HOSTILE).write_bytes(b"no scan")
    words = ["predict", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--bundle", str(ROOT / "bundles" / "semisupervised_baselines")]) == 3
    said = capsys.readouterr()
    assert "failed: E_NOT_NIFTI" in said.out
    assert harmless(said.out) and harmless(said.err)
    for name in ("index.html", "report.csv", "report.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "title" in text and harmless(text), name


def test_an_error_that_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / HOSTILE)]) == 2
    said = capsys.readouterr().err
    assert "E_CONFIG" in said and harmless(said)


def test_verbs_write_by_one_way_only() -> None:
    folder = ROOT / "monai_semiseg" / "cli"
    found = [
        file.name
        for file in folder.glob("*.py")
        if any(f"{stream}.write" in file.read_text() for stream in ("stdout", "stderr"))
    ]
    assert found == ["terminal.py"]
