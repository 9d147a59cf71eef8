"""Label fusion in the configs of every bundle that predict, from Python and the CLI."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.bundles.workflow import open_workflow, run_workflow
from monai_semiseg.cli.main import main

from .conftest import SHAPE

ROOT = Path(__file__).resolve().parents[2]
FUSION = ROOT / "bundles" / "semisupervised_baselines" / "configs" / "label_fusion.yaml"
Settings = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def scans(write_dataset: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create scans with structures at equal positions, so that registration finds them."""
    return write_dataset(tmp_path_factory.mktemp("scans"), scans=4, sizes=(2, 0, 1))


@pytest.fixture(scope="module")
def small_scans(write_dataset: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the same in less room; the shipped weights' ``predict`` would flag their size."""
    return write_dataset(tmp_path_factory.mktemp("small"), 4, SHAPE, sizes=(2, 0, 1))


def test_registration_measures_in_every_bundle(
    bundle: Path, small_scans: Path, settings: Settings, tmp_path: Path
) -> None:
    """Check that registration alone finds the structures with any weights."""
    asked = settings(bundle, "evaluate", small_scans, tmp_path)
    run_workflow(bundle, "evaluate", {**asked, "registration_share": 1.0}, [FUSION])
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["foreground"]["dice"]["mean"] > 0.9


@pytest.mark.parametrize(("section", "count"), [("test", 3), ("validation", 2)])
def test_what_is_measured_is_not_looked_up(
    section: str, count: int, scans: Path, settings: Settings, tmp_path: Path
) -> None:
    """Check that validation scans propagate labels unless they are measured themselves."""
    asked = settings(FUSION.parents[1], "evaluate", scans, tmp_path, section=section)
    labelled = open_workflow(
        FUSION.parents[1], "evaluate", asked, [FUSION]
    ).parser.get_parsed_content("labelled")
    assert len(labelled) == count
    measured = json.loads((scans / "datalist.json").read_text())[section]
    assert not {str(scans / one["image"]) for one in measured} & {
        one["image"] for one in labelled.data
    }


def command_of(scans: Path, output: Path) -> list[str]:
    where = ["--output", str(output), "--bundle", str(FUSION.parents[1]), "--device", "cpu"]
    return ["predict", str(scans / "images"), *where]


def test_predict(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Predict a folder on the CLI; a run without fusion must not resume this one."""
    command = [*command_of(scans, tmp_path / "out"), "--no_preview"]
    command += ["--set", "patch_size=[40, 32, 40]"]  # the scans fill it
    fused = [
        "--config",
        str(FUSION),
        "--set",
        f"labelled_dir={scans}",
        "--set",
        "registration_share=1.0",
    ]
    assert main([*command, *fused]) == 0
    for n in range(4):
        mask = np.asarray(nib.load(tmp_path / "out" / f"{n}_seg.nii.gz").dataobj)
        label = np.asarray(nib.load(scans / "labels" / f"{n}.nii.gz").dataobj)
        assert np.mean(mask == label) > 0.97
    assert main([*command, *fused]) == 0
    for other in ([], [*fused, "--set", "registration_share=0.5"]):
        assert main([*command, *other]) == 2
        assert "holds the results of another run" in capsys.readouterr().err


def test_predict_without_the_labelled_scans(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command_of(scans, tmp_path / "out"), "--config", str(FUSION)]) == 2
    assert "no datalist found" in capsys.readouterr().err and not (tmp_path / "out").exists()
