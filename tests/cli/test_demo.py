"""The demonstration on every kind of sample data, with two iterations."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_semiseg.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_data"


def demo(kind: str, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a demonstration of two iterations says; its masks are flagged at most."""
    asked = ["demo", "--kind", kind, "--root", str(ROOT), "--iterations", "2"]
    capsys.readouterr()
    assert main([*asked, "--output", str(output)]) in (0, 5)
    said = capsys.readouterr().out
    steps = [line[:3] for line in said.splitlines() if line[1:3] == "/5"]
    assert steps == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    return said


def test_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = demo("2d", tmp_path, capsys)
    assert "2-D, channels red, green, blue" in said and "areas in pixels" in said
    scores = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert scores["cases"] == 3 and set(scores["classes"]) == {"gland"}
    for path in (SAMPLES / "photographs" / "scans").iterdir():
        with (
            Image.open(path) as photograph,
            Image.open(tmp_path / "predictions" / f"{path.stem}_seg.png") as mask,
        ):
            assert mask.size == photograph.size
            assert set(np.unique(np.asarray(mask))) <= {0, 255}
        preview = tmp_path / "predictions" / f"{path.stem}_preview.jpg"
        assert preview.is_file() and str(preview) in said


def test_contrasts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = demo("contrasts", tmp_path, capsys)
    assert "3-D, channels bright_core, dark_core, low_contrast, inverted" in said
    images = SAMPLES / "contrasts" / "imagesTr"
    patients = {path.name.rsplit("_", 1)[0] for path in images.iterdir()}
    masks = {path.name: path for path in (tmp_path / "predictions").glob("*_seg.nii.gz")}
    assert set(masks) == {f"{patient}_seg.nii.gz" for patient in patients}
    for patient in patients:
        mask = nib.load(masks[f"{patient}_seg.nii.gz"])
        image = nib.load(images / f"{patient}_0000.nii.gz")
        assert mask.shape == image.shape and np.allclose(mask.affine, image.affine)


def test_a_second_demo_replaces_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert "Done. Folder:" in demo("2d", tmp_path, capsys)


def test_each_kind_has_a_folder_and_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    """Check that the command of before, without ``--kind``, is the one for scans."""
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for text in (
        "default runs/demo, runs/demo_2d, runs/demo_contrasts",
        "default 12 for 3d, 10 for 2d, 6 for contrasts",
        "default 500 for 3d, 200 for 2d, 300 for contrasts",
    ):
        assert text in said
