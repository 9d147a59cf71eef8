"""Modality of a dataset: precedence of the sources, and guesses from values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.modality import (
    ScanKind,
    decide_modality,
    dicom_modality,
    looks_like_hounsfield,
)

CT = ScanKind("CT", True)
MR = ScanKind("MR", False)
PLAIN = ScanKind("", True)


def body(seed: int = 0, shape: tuple[int, int, int] = (24, 24, 16)) -> NDArray[np.int64]:
    """Return classes 0 air, 1 tissue, 2 bone."""
    points = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    radius = np.linalg.norm(points, axis=0) + 0.02 * np.random.default_rng(seed).normal(size=shape)
    return np.asarray((radius < 0.9).astype(int) + (radius < 0.2))


def ct(seed: int = 0, pad: float | None = None) -> NDArray[np.int16]:
    """Return a CT scan in Hounsfield units, with noise and a padded border."""
    noise = np.random.default_rng(seed).normal(0, 12, body().shape)
    scan = np.choose(body(seed), [-1000, 40, 700]) + noise
    scan = np.maximum(scan, -1024)
    if pad is not None:
        scan[:3] = pad
    return scan.round().astype(np.int16)


def mr(seed: int = 0) -> NDArray[np.int16]:
    noise = np.abs(np.random.default_rng(seed).normal(0, 20, body().shape))
    return (np.choose(body(seed), [0, 400, 900]) + noise).round().astype(np.int16)


def phase() -> NDArray[np.int16]:
    """Return a phase-contrast MR scan, with uniform values."""
    return np.random.default_rng(0).integers(-2048, 2048, body().shape).astype(np.int16)


@pytest.mark.parametrize(
    ("scan", "hounsfield"),
    [
        (ct(), True),
        (ct(pad=-2000), True),
        (ct(pad=-3024), True),
        (ct(pad=-1024).astype(np.float32), True),
        (ct() + 1024, False),
        (ct()[8:14, 8:14, 5:10], False),
        (mr(), False),
        (mr() - 200, False),
        ((mr() - mr().mean()) / mr().std(), False),
        (phase(), False),
        (ct() * 10, False),
        (np.full((9, 9, 9), -1000), False),
    ],
    ids=[
        "ct",
        "padded",
        "padded with -3024",
        "whole floats",
        "offset",
        "without air",
        "mr",
        "negative mr",
        "z-scored mr",
        "phase",
        "scaled",
        "constant",
    ],
)
def test_values_that_look_like_ct(scan: NDArray[Any], hounsfield: bool) -> None:
    assert bool(looks_like_hounsfield(scan)) is hounsfield


@pytest.mark.parametrize(
    ("declared", "scans", "asked", "modality"),
    [
        ("", [PLAIN, PLAIN], None, "CT"),
        ("", [PLAIN, ScanKind("", False)], None, ""),
        ("", [ScanKind("", False)], None, ""),
        ("", [], None, ""),
        ("", [ScanKind("MR", True)], None, "MR"),
        ("", [CT, MR], None, ""),
        ("MRI", [CT, PLAIN], None, "MR"),
        ("CT", [MR], None, "CT"),
        ("CT with contrast", [], None, "CT"),
        ("microscopy", [PLAIN], None, "microscopy"),
        ("light\nmicroscopy", [], None, "light microscopy"),
        ("CT", [CT], "MR", "MR"),
        ("", [MR], "CT", "CT"),
    ],
)
def test_who_is_believed(
    declared: str, scans: list[ScanKind], asked: str | None, modality: str
) -> None:
    found, line = decide_modality(declared, scans, asked)
    assert found == modality
    assert line.startswith(f"modality: {modality or 'unknown'}, ") and "\n" not in line


def test_words_for_modalities() -> None:
    assert [
        dicom_modality(word) for word in ("MRI", "Computed Tomography", "pet", "T2", "CT, MR")
    ] == [
        "MR",
        "CT",
        "PT",
        "MR",
        None,
    ]


@pytest.mark.parametrize(
    ("names", "modality"),
    [
        (("FLAIR", "T1", "T1post", "T2"), "MR"),  # a folder for each case
        (("T1w",), "MR"),  # BIDS
        (("acq-axial_T2star",), "MR"),
        (("T2-FLAIR", "DWI", "ADC"), "MR"),
        (("ct",), "CT"),
        (("CT", "T1"), ""),  # not one modality
        (("CT", "PET"), ""),
        (("image",), ""),
        (("red", "green", "blue"), ""),
        (("arterial", "venous"), ""),  # phases of CT or of MR
        (("DAPI", "T100", "at2"), ""),
    ],
)
def test_names_of_channels_say_the_modality(names: tuple[str, ...], modality: str) -> None:
    plain = ScanKind("", False)
    found, line = decide_modality("", [plain], channels=names)
    assert found == modality
    assert ("the names of the channels say so" in line) == bool(modality)
    # What the files or the user say goes before names.
    assert decide_modality("", [CT, plain], channels=names)[0] == "CT"
    assert decide_modality("", [plain], "US", names)[0] == "US"


def write(folder: Path, *scans: NDArray[Any], modality: str | None = None) -> Path:
    """Write a dataset of plain folders, or with a modality in dataset.json."""
    entries = []
    for n, scan in enumerate(scans):
        entries.append({"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"})
        for name, array in (("images", scan), ("labels", (body(n) == 1).astype(np.uint8))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / name / f"{n}.nii.gz")
    if modality is not None:
        content = {"modality": {"0": modality}, "training": entries}
        (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def planned(folder: Path, *options: str) -> dict[str, Any]:
    file = folder / "plan.yaml"
    assert main(["plan", str(folder), "--output", str(file), *options]) == 0
    settings: dict[str, Any] = yaml.safe_load(file.read_text())
    return settings


def is_windowed(settings: dict[str, Any]) -> bool:
    """Return True if all scans have one intensity window."""
    return bool(settings["intensity"]["_target_"] == "ScaleIntensityRanged")


def test_ct_in_a_plain_folder_keeps_its_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = planned(write(tmp_path, ct(0), ct(1)))
    assert is_windowed(settings) and settings["training_scans"]["modality"] == "CT"
    assert -100 < settings["intensity"]["a_min"] < 40 < settings["intensity"]["a_max"] < 200
    assert "# modality: CT, a guess" in capsys.readouterr().out


@pytest.mark.parametrize("scans", [(mr(0), mr(1)), (ct(0) + 1024, ct(1) + 1024), (ct(0), mr(1))])
def test_other_scans_are_scaled_each_by_itself_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scans: tuple[NDArray[Any], ...]
) -> None:
    settings = planned(write(tmp_path, *scans))
    assert not is_windowed(settings) and settings["training_scans"]["modality"] is None
    assert "# modality: unknown" in capsys.readouterr().out


def test_the_user_sets_it(tmp_path: Path) -> None:
    write(tmp_path / "ct", ct(0) + 1024)
    write(tmp_path / "mr", ct(0), modality="CT")
    assert is_windowed(planned(tmp_path / "ct", "--modality", "ct"))
    settings = planned(tmp_path / "mr", "--modality", "MRI")
    assert not is_windowed(settings) and settings["training_scans"]["modality"] == "MR"


def test_what_the_dataset_says_goes_before_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not is_windowed(planned(write(tmp_path, ct(0), modality="MRI")))
    assert "1 of 1 scans have values like CT's" in capsys.readouterr().out


def test_dicom_says(tmp_path: Path, make: Any) -> None:
    def edit(data: Any, k: int) -> None:
        data.Modality = "MR"

    make.series(tmp_path / "images" / "a", edit=edit)
    assert planned(tmp_path)["training_scans"]["modality"] == "MR"
    make.series(tmp_path / "ct" / "images" / "a")
    assert is_windowed(planned(tmp_path / "ct"))


def test_an_unknown_modality_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["plan", str(write(tmp_path, ct(0))), "--modality", "CTT"])
    assert stopped.value.code == 2 and not (tmp_path / "plan.yaml").exists()
