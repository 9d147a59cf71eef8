"""The report of a run: volumes, names, weights, and what was not read."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tests.inference.run_folders import Make, by_input, oblique, report, tree


def test_volumes_are_in_ml(tmp_path: Path, make_runner: Make, kit: SimpleNamespace) -> None:
    array = np.zeros((10, 10, 10), dtype=np.float32)
    array[:3, :4, :5] = array[8:, :, :] = 1  # 60 voxels on the left, 200 on the right
    kit.write_nifti(tmp_path / "in" / "straight.nii", array, np.diag([2.0, 2.5, 3.0, 1.0]))
    kit.write_nifti(tmp_path / "in" / "turned.nii", array, oblique())
    kit.write_nifti(
        tmp_path / "in" / "zero.nii", array * 0 + np.linspace(0, 0.1, 10, dtype=np.float32)
    )
    make_runner().run()
    volumes = {
        name: row["volumes_ml"] for name, row in by_input(tmp_path / "out", tmp_path / "in").items()
    }
    assert volumes["straight.nii"] == {
        "left": pytest.approx(60 * 15 / 1000),
        "right": pytest.approx(200 * 15 / 1000),
    }
    assert volumes["turned.nii"]["left"] == pytest.approx(60 * 0.9 * 1.1 * 2 / 1000, abs=1e-4)
    assert volumes["zero.nii"] == {"left": 0.0, "right": 0.0}
    rows = {
        Path(row["input"]).name: row
        for row in csv.DictReader((tmp_path / "out" / "report.csv").open())
    }
    assert (rows["straight.nii"]["left_ml"], rows["straight.nii"]["right_ml"]) == (
        "0.9000",
        "3.0000",
    )


def test_report_names_weights_and_tool(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace, weights: Path
) -> None:
    kit.write_nifti(tmp_path / "in" / "a.nii", kit.values((4, 4, 4)))
    make_runner(about={"bundle": "test 1.2"}).run()
    content = report(tmp_path / "out")
    assert content["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert content["bundle"] == "test 1.2"
    assert "research use only" in content["tool"]


def test_names_never_collide_and_may_be_odd(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    names = [
        "scan.nii",
        "scan.nii.gz",
        "sub/scan.nii",
        "with space & ümläut 患者.nii",
        "$\\frac{$.nii",
        "a" * 240 + ".nii",
        "a" * 241 + ".nii",
        "é" * 120 + ".nii",
        "1.2.84.45.nii",
        "1.2.84.46.nii",
    ]
    for seed, name in enumerate(names):
        kit.write_nifti(tmp_path / "in" / name, kit.values((4, 4, 4), seed))
    runner = make_runner(preview=True)
    runner.run()
    rows = by_input(tmp_path / "out", tmp_path / "in")
    assert [
        row["reason"]
        for row in rows.values()
        if row["status"] != "done" or (row["reason"] and row["flags"] != ["volume_outlier"])
    ] == []
    assert len({rows[name]["output"].lower() for name in names}) == len(names)
    assert sum(name.endswith("_preview.png") for name in tree(tmp_path / "out")) == len(names)
    for seed, name in enumerate(names):
        mask = np.asanyarray(nib.load(tmp_path / "out" / rows[name]["output"]).dataobj)
        assert np.array_equal(mask > 0, kit.values((4, 4, 4), seed) > 0.5)


def test_images_that_are_not_read_fail_by_name_and_the_scan_is_done(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace, make: SimpleNamespace
) -> None:
    from pydicom.uid import SecondaryCaptureImageStorage, UltrasoundMultiFrameImageStorage

    def picture(sop_class: str, modality: str, frames: int = 1) -> Any:
        def edit(data: Any, k: int) -> None:
            data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
            data.Modality = modality
            data.NumberOfFrames = frames
            data.PixelData = data.PixelData * frames
            del data.ImagePositionPatient, data.ImageOrientationPatient

        return edit

    root = tmp_path / "in"
    kit.write_dicom(root / "series", kit.values((6, 7, 5), 3))
    edit = picture(UltrasoundMultiFrameImageStorage, "US", frames=30)
    make.series(root / "us", count=1, edit=edit, name="x.dcm")
    edit = picture(SecondaryCaptureImageStorage, "OT")
    make.series(root / "series", count=1, edit=edit, name="screenshot.dcm")
    runner = make_runner()
    rows = {result.status: result for result in runner.run()}
    assert set(rows) == {"done", "failed", "skipped"}
    assert "grey secondary capture (OT) beside scans" in rows["skipped"].reason
    assert Path(rows["done"].input).name == "series"
    assert runner.exit_code() == 3
    cine = rows["failed"]
    assert Path(cine.input).parent.name == "us"
    assert cine.code == "E_UNSUPPORTED"
    assert "30 frames over time, not a volume: ultrasound image (US)" in cine.reason
