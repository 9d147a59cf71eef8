"""Scans unlike the training scans are marked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from monai_semiseg.datasets.plan import dicom_modality
from monai_semiseg.inference.out_of_distribution import unlike_training
from monai_semiseg.inference.runner import BatchRunner

TRAINING = {"extent": [[30.0, 40.0, 20.0], [40.0, 60.0, 45.0]]}


@pytest.mark.parametrize("size", [(240, 50, 30), (36, 20, 30), (36, 50, 12)])
def test_unlike_scans_are_named(size: tuple[int, ...]) -> None:
    remark = unlike_training(size, np.eye(4), TRAINING)
    assert (
        remark is not None
        and " x ".join(map(str, size)) in remark
        and "30-40 x 40-60 x 20-45" in remark
    )
    assert unlike_training(size, np.eye(4), TRAINING, factor=100) is None


def test_the_runner_marks_them(
    tmp_path: Path, make_runner: Callable[..., BatchRunner], kit: SimpleNamespace
) -> None:
    kit.write_nifti(tmp_path / "in" / "small.nii.gz", kit.values((6, 5, 4), 1))
    kit.write_nifti(tmp_path / "in" / "large.nii.gz", kit.values((40, 5, 4), 2))
    results = make_runner(training_scans={"extent": [[5, 5, 4], [7, 6, 6]]}, preview=True).run()
    found = {Path(r.input).name.split(".")[0]: r for r in results}
    assert found["small"].reason == "" and found["large"].reason.startswith(
        "unlike the training scans"
    )
    assert (
        all(r.status == "done" for r in results)
        and "unlike the training" in (tmp_path / "out/index.html").read_text()
    )


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
    results = make_runner(
        training_scans=mr, any_modality=True, output_dir=str(tmp_path / "all")
    ).run()
    assert {r.status for r in results} == {"done"}


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
        ("ultrasound", None),
    ],
)
def test_modalities_by_dicoms_names(name: str, code: str | None) -> None:
    assert dicom_modality(name) == code
