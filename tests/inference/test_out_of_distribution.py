"""Scans and masks unlike the training scans are flagged, and what a run does with them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from monai_semiseg.datasets.plan import dicom_modality
from monai_semiseg.errors import ConfigError
from monai_semiseg.export.report import CaseResult
from monai_semiseg.export.sizes import LabelSizes
from monai_semiseg.inference.out_of_distribution import TrainingDomain
from monai_semiseg.inference.runner import BatchRunner

TRAINING = {"extent": [[30.0, 40.0, 20.0], [40.0, 60.0, 45.0]]}
SMALL = {"extent": [[5, 5, 4], [7, 6, 6]]}
VOLUMES = {"volume_ml": {"left": [1.0, 2.0], "right": [0.0, 3.0]}}


@pytest.mark.parametrize("size", [(240, 50, 30), (36, 20, 30), (36, 50, 12)])
def test_unlike_scans_are_named(size: tuple[int, ...]) -> None:
    flags = TrainingDomain(TRAINING).scan_flags(size, np.eye(4), "", "a")
    assert list(flags) == ["field_of_view"]
    assert " x ".join(map(str, size)) in flags["field_of_view"]
    assert "30-40 x 40-60 x 20-45" in flags["field_of_view"]


def test_alike_scans_have_no_flag() -> None:
    assert TrainingDomain(TRAINING).scan_flags((36, 50, 30), np.eye(4), "MR", "a") == {}
    assert TrainingDomain().scan_flags((900, 1, 1), np.eye(4), "CT", "a") == {}


@pytest.mark.parametrize(
    ("left", "right", "flags"),
    [
        (1.0, 3.0, {}),
        (0.34, 8.9, {}),
        (0.33, 1.0, {"label_volume": "left 0.33 mL, the training labels' 1.00-2.00 mL"}),
        (6.1, 0.0, {"label_volume": "left 6.10 mL, the training labels' 1.00-2.00 mL"}),
        (1.0, 9.1, {"label_volume": "right 9.10 mL, the training labels' 0.00-3.00 mL"}),
        (0.0, 0.0, {"empty_mask": "no voxel is labelled"}),
    ],
)
def test_volumes_beyond_three_times_the_training_labels(
    left: float, right: float, flags: dict[str, str]
) -> None:
    assert (
        TrainingDomain(VOLUMES).mask_flags(LabelSizes(by_name={"left": left, "right": right}))
        == flags
    )


def test_empty_masks_where_empty_labels_were_learnt_from() -> None:
    lesions = TrainingDomain({"volume_ml": {"lesion": [0.0, 5.0]}})
    assert lesions.mask_flags(LabelSizes(by_name={"lesion": 0.0})) == {}
    assert list(TrainingDomain().mask_flags(LabelSizes(by_name={"lesion": 0.0}))) == ["empty_mask"]
    other = TrainingDomain(VOLUMES).mask_flags(LabelSizes(by_name={"liver": 1500.0}))
    assert other == {}  # names that the training labels did not have


def two_scans(folder: Path, kit: SimpleNamespace) -> None:
    kit.write_nifti(folder / "in" / "small.nii.gz", kit.values((6, 5, 4), 1))
    kit.write_nifti(folder / "in" / "large.nii.gz", kit.values((40, 5, 4), 2))


def by_name(results: list[CaseResult]) -> dict[str, CaseResult]:
    return {Path(result.input).name.split(".")[0]: result for result in results}


def test_the_runner_flags_them_and_says_so_with_its_exit_code(
    tmp_path: Path, make_runner: Callable[..., BatchRunner], kit: SimpleNamespace
) -> None:
    two_scans(tmp_path, kit)
    runner = make_runner(training_scans=SMALL, preview=True)
    found = by_name(runner.run())
    assert (found["small"].reason, list(found["small"].flags)) == ("", [])
    assert found["large"].reason.startswith("unlike the training scans: field of view 40 x")
    assert list(found["large"].flags) == ["field_of_view"]
    assert {result.status for result in found.values()} == {"done"}
    assert "unlike the training" in (tmp_path / "out/index.html").read_text()
    rows = list(csv.DictReader((tmp_path / "out/report.csv").open(newline="")))
    assert [row["flags"] for row in rows if "large" in row["input"]] == ["field_of_view"]
    assert (runner.flagged, runner.exit_code()) == (1, 5)
    with pytest.raises(SystemExit) as left:
        runner.finish()
    assert left.value.code == 5
    again = make_runner(training_scans=SMALL, preview=True)  # everything is kept, and its flags
    assert [list(result.flags) for result in again.run()] == [["field_of_view"], []]
    assert again.exit_code() == 5


def test_a_failed_case_weighs_more_than_a_flag(
    tmp_path: Path, make_runner: Callable[..., BatchRunner], kit: SimpleNamespace
) -> None:
    two_scans(tmp_path, kit)
    (tmp_path / "in" / "bad.nii.gz").write_bytes(b"no scan")
    runner = make_runner(training_scans=SMALL)
    runner.run()
    assert (runner.failed, runner.flagged, runner.exit_code()) == (1, 1, 3)


@pytest.mark.parametrize(
    ("on_flag", "status", "code"), [("skip", "skipped", 0), ("fail", "failed", 3)]
)
def test_no_network_time_for_scans_that_are_left_out(
    tmp_path: Path,
    make_runner: Callable[..., BatchRunner],
    kit: SimpleNamespace,
    on_flag: str,
    status: str,
    code: int,
) -> None:
    two_scans(tmp_path, kit)
    network = kit.Sides()
    seen = []
    network.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
    runner = make_runner(network=network, training_scans=SMALL, on_flag=on_flag)
    found = by_name(runner.run())
    assert seen == [(1, 1, 6, 5, 4)]
    assert found["small"].status == "done" and found["large"].status == status
    assert found["large"].code == "E_UNLIKE" and list(found["large"].flags) == ["field_of_view"]
    assert "field of view 40 x" in found["large"].reason
    assert [path.name for path in (tmp_path / "out").rglob("*.nii.gz")] == ["small_seg.nii.gz"]
    assert runner.exit_code() == code
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["counts"][status] == 1 and content["flags"] == {"field_of_view": 1}


@pytest.mark.parametrize(("on_flag", "status"), [("skip", "skipped"), ("fail", "failed")])
@pytest.mark.parametrize("flag", ["label_volume", "empty_mask"])
def test_masks_that_are_left_out(
    tmp_path: Path,
    make_runner: Callable[..., BatchRunner],
    kit: SimpleNamespace,
    on_flag: str,
    status: str,
    flag: str,
) -> None:
    voxels = kit.values((6, 5, 4), 1) if flag == "label_volume" else np.zeros((6, 5, 4), np.float32)
    kit.write_nifti(tmp_path / "in" / "a.nii.gz", voxels)
    settings = {"training_scans": VOLUMES, "output_type": "nifti"}
    (kept,) = make_runner(**settings).run()
    assert (
        kept.status == "done" and list(kept.flags) == [flag] and "look at the mask" in kept.reason
    )
    runner = make_runner(**settings, on_flag=on_flag, output_dir=str(tmp_path / "none"))
    (found,) = runner.run()
    assert (found.status, found.code, list(found.flags)) == (status, "E_UNLIKE", [flag])
    assert not list((tmp_path / "none").rglob("*.nii.gz"))


def test_another_way_with_flags_is_another_run(
    tmp_path: Path, make_runner: Callable[..., BatchRunner], kit: SimpleNamespace
) -> None:
    two_scans(tmp_path, kit)
    make_runner(training_scans=SMALL).run()
    with pytest.raises(ConfigError, match="another run"):
        make_runner(training_scans=SMALL, on_flag="skip").run()


def test_unknown_ways_with_flags_are_refused(make_runner: Callable[..., BatchRunner]) -> None:
    with pytest.raises(ConfigError, match=r"on_flag 'drop'\n.*keep, skip, fail"):
        make_runner(on_flag="drop")


def test_outliers_of_a_run_are_flagged_at_its_end(
    tmp_path: Path, make_runner: Callable[..., BatchRunner], kit: SimpleNamespace
) -> None:
    for number in range(8):
        kit.write_nifti(tmp_path / "in" / f"s{number}.nii.gz", kit.values((6, 5, 4), number))
    kit.write_nifti(tmp_path / "in" / "whole.nii.gz", np.full((30, 20, 10), 0.9, np.float32))
    runner = make_runner(on_flag="skip")
    found = by_name(runner.run())
    assert {name for name, result in found.items() if "volume_outlier" in result.flags} == {"whole"}
    assert "the run's median" in found["whole"].reason
    assert (tmp_path / "out" / "whole_seg.nii.gz").is_file() and runner.exit_code() == 5


def test_another_modality_is_refused_unless_told(
    tmp_path: Path, make_runner: Callable[..., BatchRunner], kit: SimpleNamespace
) -> None:
    kit.write_dicom(tmp_path / "in" / "mr", kit.values((6, 5, 4)))
    kit.write_dicom(tmp_path / "in" / "ct", kit.values((6, 5, 4)), Modality="CT")
    kit.write_nifti(tmp_path / "in" / "nifti.nii.gz", kit.values((6, 5, 4)))
    mr = {"modality": "MR"}
    found = {Path(r.input).name: r for r in make_runner(training_scans=mr).run()}
    assert {name: r.code for name, r in found.items()} == {
        "mr": "",
        "ct": "E_MODALITY",
        "nifti.nii.gz": "",
    }
    assert "--any_modality" in found["ct"].reason
    runner = make_runner(training_scans=mr, any_modality=True, output_dir=str(tmp_path / "all"))
    flags = {Path(r.input).name: (r.status, list(r.flags), r.reason) for r in runner.run()}
    remark = "unlike the training scans: modality CT, theirs MR; look at the mask before you use it"
    assert flags == {
        "mr": ("done", [], ""),
        "ct": ("done", ["modality"], remark),
        "nifti.nii.gz": ("done", [], ""),
    }
    assert runner.exit_code() == 5


def test_the_segmentation_says_its_flags_and_what_has_no_code(
    tmp_path: Path, make_runner: Callable[..., BatchRunner], kit: SimpleNamespace
) -> None:
    kit.write_dicom(tmp_path / "in" / "small", kit.values((6, 5, 4)))
    kit.write_dicom(tmp_path / "in" / "large", kit.values((40, 5, 4)))
    names = {"0": "background", "1": "Anterior", "2": "left kidney"}
    results = make_runner(training_scans=SMALL, output_type="dicom_seg", label_names=names).run()
    written = {
        name: pydicom.dcmread(tmp_path / "out" / f"{name}_seg.dcm") for name in ("small", "large")
    }
    plain = "Segmentation, research use only"
    said = "flagged: field_of_view; research use only"
    for name, text in {"small": plain, "large": said}.items():
        assert written[name].SeriesDescription == written[name].ContentDescription == text
    for result in results:
        assert "no code known for Anterior; coded as Anatomical Structure" in result.reason
    first, second = written["small"].SegmentSequence
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Anatomical Structure"
    (kind,) = second.SegmentedPropertyTypeCodeSequence
    assert (kind.CodeValue, kind.CodeMeaning) == ("64033007", "Kidney")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MRI", "MR"),
        ("MR", "MR"),
        ("T2 MRI", "MR"),
        ("CT", "CT"),
        ("Computed Tomography", "CT"),
        ("PET", "PT"),
        ("PET/CT", None),
        ("", None),
        ("ultrasound", "US"),
    ],
)
def test_modalities_by_dicoms_names(name: str, code: str | None) -> None:
    assert dicom_modality(name) == code
