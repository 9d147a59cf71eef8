"""Outputs beside the NIfTI mask or instead of it: DICOM SEG, and a map of the uncertainty."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad
from scipy.spatial.transform import Rotation

from monai_semiseg.errors import ConfigError
from monai_semiseg.transforms.restore import LabelOnScanGridd
from tests.inference.run_folders import Make


@pytest.mark.parametrize("asked", ["dicom_seg", ["nifti", "dicom_seg"]], ids=str)
def test_dicom_seg_beside_or_instead_of_nifti(
    asked: Any, tmp_path: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    import highdicom

    array = kit.values((6, 7, 5), 3)
    affine = kit.write_dicom(tmp_path / "in" / "series", array)
    kit.write_nifti(tmp_path / "in" / "plain.nii.gz", kit.values((5, 5, 5), 4))
    results = {Path(r.input).name: r for r in make_runner(output_type=asked).run()}
    out = tmp_path / "out"
    assert {r.status for r in results.values()} == {"done"}
    assert (out / "series_seg.nii.gz").exists() == (asked != "dicom_seg") and (
        out / "plain_seg.nii.gz"
    ).exists()
    assert results["plain.nii.gz"].reason == "no DICOM SEG: the scan is not DICOM"
    volume = highdicom.seg.segread(out / "series_seg.dcm").get_volume(combine_segments=True)
    index = np.indices(volume.array.shape).reshape(3, -1)
    places = (
        np.diag([-1.0, -1.0, 1.0, 1.0])
        @ volume.affine
        @ np.vstack([index, np.ones(index.shape[1])])
    )
    ours = np.rint(np.linalg.inv(affine) @ places)[:3].astype(int)
    assert np.array_equal(kit.expected(array, affine)[tuple(ours)], volume.array.reshape(-1))
    again = make_runner(output_type=asked)
    when = (out / "series_seg.dcm").stat().st_mtime_ns
    again.run()
    assert (out / "series_seg.dcm").stat().st_mtime_ns == when


def test_a_series_that_no_seg_can_refer_to(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    kit.write_dicom(tmp_path / "in" / "series", kit.values((6, 7, 5), 3), StudyInstanceUID="")
    (both,) = make_runner(
        output_type=["nifti", "dicom_seg"], output_dir=str(tmp_path / "both")
    ).run()
    assert both.status == "done" and both.reason.startswith("no DICOM SEG: no DICOM SEG can refer")
    (only,) = make_runner(output_type="dicom_seg").run()
    assert only.status == "failed" and only.code == "E_UNSUPPORTED"
    assert not list((tmp_path / "out").glob("series*"))


def test_unknown_output_type(make_runner: Make) -> None:
    with pytest.raises(ConfigError, match="nifti, dicom_seg"):
        make_runner(output_type="rtstruct")


@pytest.mark.parametrize("dicom", [False, True])
def test_a_map_of_the_uncertainty(
    dicom: bool, tmp_path: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    if dicom:
        affine = kit.write_dicom(tmp_path / "in" / "a", kit.values((7, 6, 5)))
    else:
        kit.write_nifti(tmp_path / "in" / "a.nii.gz", kit.values((7, 6, 5)), affine)
    network = kit.Sides()
    with torch.no_grad():
        torch.save(network.state_dict(), tmp_path / "weights.pt")
    soft = Compose(
        [
            Lambdad("pred", lambda x: x / 2000),
            LabelOnScanGridd("pred", uncertainty_key="uncertainty"),
        ]
    )
    (result,) = make_runner(postprocessing=soft).run()
    image = nib.load(tmp_path / "out" / "a_uncertainty.nii.gz")
    values = np.asanyarray(image.dataobj)
    assert (
        image.get_data_dtype() == np.uint8 and 0 < values.max() <= 1 and values.shape == (7, 6, 5)
    )
    np.testing.assert_allclose(image.affine, affine)
    mask = np.asanyarray(nib.load(tmp_path / "out" / "a_seg.nii.gz").dataobj)
    for index, name in ((1, "left"), (2, "right")):
        found = result.measures[name]
        assert found["mean_uncertainty"] == pytest.approx(values[mask == index].mean(), abs=0.003)
        assert found["mean_intensity"] == pytest.approx(
            kit.values((7, 6, 5))[mask == index].mean(), abs=0.002
        )
    make_runner(overwrite=True).run()
    assert not (tmp_path / "out" / "a_uncertainty.nii.gz").exists()


def test_a_dicom_seg_of_rounded_geometry(
    tmp_path: Path, make_runner: Make, make: SimpleNamespace
) -> None:
    """Write mask and SEG for positions with two decimals and cosines with three."""

    def rounded(data: Any, k: int) -> None:
        data.ImagePositionPatient = [f"{float(x):.2f}" for x in data.ImagePositionPatient]
        data.ImageOrientationPatient = [f"{float(x):.3f}" for x in data.ImageOrientationPatient]

    axes = Rotation.from_euler("xyz", (11, -8, 23), degrees=True).as_matrix()
    make.series(
        tmp_path / "in" / "s", orientation=(*axes[:, 0], *axes[:, 1]), gap=0.7, edit=rounded
    )
    (result,) = make_runner(output_type="dicom_seg").run()
    assert result.status == "done" and "no DICOM SEG" not in result.reason
    assert (tmp_path / "out" / "s_seg.dcm").exists()


def test_why_there_is_no_dicom_seg_is_in_the_report(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import highdicom

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("planes overlap")

    monkeypatch.setattr(highdicom.seg, "Segmentation", fail)
    kit.write_dicom(tmp_path / "in" / "series", kit.values((6, 7, 5), 3))
    (result,) = make_runner(output_type=["nifti", "dicom_seg"]).run()
    assert result.status == "done" and "planes overlap" in result.reason
