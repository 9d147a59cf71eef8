"""A folder through one network: every mask on its scan's own grid, every input in the report."""

from __future__ import annotations

import csv
import hashlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Lambdad
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from monai_semiseg.errors import ConfigError
from monai_semiseg.export.nifti_mask import read_label_names
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.transforms.restore import LabelOnScanGridd

Make = Callable[..., BatchRunner]
LPS = np.diag([-1.0, -2.0, 1.5, 1.0])


def oblique() -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (11, -8, 23), degrees=True).as_matrix() @ np.diag(
        [0.9, 1.1, 2.0]
    )
    matrix[:3, 3] = (-31.5, 12.25, 7.125)
    return matrix


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def by_input(folder: Path, root: Path) -> dict[str, dict[str, Any]]:
    return {str(Path(row["input"]).relative_to(root)): row for row in report(folder)["cases"]}


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def mixed(tmp_path: Path, kit: SimpleNamespace) -> Path:
    """Three good scans in three forms, two damaged ones, and a file that is no scan."""
    root = tmp_path / "in"
    kit.write_nifti(root / "a" / "oblique.nii.gz", kit.values((9, 7, 5), 1), oblique(), (2, 4))
    kit.write_nifti(root / "lps.nii", kit.values((8, 6, 4), 2), LPS, (0, 1))
    kit.write_dicom(root / "b" / "series", kit.values((10, 8, 6), 3), (0.8, 1.2, 2.5))
    whole = kit.write_nifti(root / "a" / "cut.nii.gz", kit.values((20, 20, 20), 4)).read_bytes()
    (root / "a" / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (root / "text.nii.gz").write_text("this is no scan")
    (root / "notes.txt").write_text("remember the milk")
    return root


def test_mixed_folder(tmp_path: Path, mixed: Path, make_runner: Make, kit: SimpleNamespace) -> None:
    runner = make_runner(preview=True)
    results = runner.run()
    out = tmp_path / "out"
    assert tree(out) == sorted(
        [
            "a/oblique_preview.png",
            "a/oblique_seg.nii.gz",
            "b/series_preview.png",
            "b/series_seg.nii.gz",
            "index.html",
            "manifest/1-of-1.jsonl",
            "manifest/run.json",
            "lps_preview.png",
            "lps_seg.nii.gz",
            "report.csv",
            "report.json",
        ]
    )
    rows = by_input(out, mixed)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a/oblique.nii.gz": "done",
        "lps.nii": "done",
        "b/series": "done",
        "a/cut.nii.gz": "failed",
        "text.nii.gz": "failed",
        "notes.txt": "skipped",
    }
    assert (rows["a/cut.nii.gz"]["code"], rows["text.nii.gz"]["code"]) == (
        "E_TRUNCATED",
        "E_NOT_NIFTI",
    )
    assert all(
        str(mixed / name) in rows[name]["reason"] for name in ("a/cut.nii.gz", "text.nii.gz")
    )
    assert rows["notes.txt"]["reason"] == "not a scan"
    assert {name: row["output"] for name, row in rows.items() if row["output"]} == {
        "a/oblique.nii.gz": "a/oblique_seg.nii.gz",
        "lps.nii": "lps_seg.nii.gz",
        "b/series": "b/series_seg.nii.gz",
    }
    assert report(out)["counts"] == {"done": 3, "failed": 2, "skipped": 1}
    assert len(results) == 6
    assert (runner.failed, runner.exit_code()) == (2, 3)
    with pytest.raises(SystemExit) as left:
        runner.finish()
    assert left.value.code == 3


def test_masks_lie_on_the_scans_grid(
    tmp_path: Path, mixed: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    make_runner().run()
    for name, seed, shape, codes in (
        ("a/oblique", 1, (9, 7, 5), (2, 4)),
        ("lps", 2, (8, 6, 4), (0, 1)),
    ):
        scan = nib.load(next(mixed.glob(f"{name}.nii*")))
        mask = nib.load(tmp_path / "out" / f"{name}_seg.nii.gz")
        assert mask.shape == shape
        assert np.abs(mask.affine - scan.affine).max() < 1e-5
        assert (int(mask.header["qform_code"]), int(mask.header["sform_code"])) == codes
        assert np.array_equal(
            np.asanyarray(mask.dataobj), kit.expected(kit.values(shape, seed), scan.affine)
        )


def test_dicom_masks_lie_where_the_patient_is(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    """Left is left: of the voxels above the level, those at smaller RAS x are class 1."""
    array = kit.values((10, 8, 6), 3)
    affine = kit.write_dicom(tmp_path / "in" / "series", array, (0.8, 1.2, 2.5))
    make_runner().run()
    mask = nib.load(tmp_path / "out" / "series_seg.nii.gz")
    assert np.abs(mask.affine - affine).max() < 1e-5
    x = np.einsum("d,dijk->ijk", affine[0, :3], np.indices(array.shape)) + affine[0, 3]
    truth = np.where(array > 0.5, np.where(x < x.mean(), 1, 2), 0)
    assert np.array_equal(np.asanyarray(mask.dataobj), truth)


def test_all_good_leaves_with_0(tmp_path: Path, make_runner: Make, kit: SimpleNamespace) -> None:
    kit.write_nifti(tmp_path / "in" / "a.nii", kit.values((6, 6, 6)))
    runner = make_runner()
    runner.run()
    assert runner.exit_code() == 0
    runner.finish()


@pytest.mark.parametrize("spacing", [None, (1.3, 1.7, 1.6)], ids=["own grid", "resampled"])
def test_all_48_orders_and_flips(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace, spacing: tuple[float, ...] | None
) -> None:
    """The prediction of a reoriented scan is the reoriented prediction, voxel for voxel."""
    base = nib.Nifti1Image(kit.values((5, 6, 7), 9), oblique())
    turns = kit.orientations()
    for number, turn in enumerate(turns):
        turned = base.as_reoriented(turn)
        kit.write_nifti(
            tmp_path / "in" / f"{number:02}.nii", np.asanyarray(turned.dataobj), turned.affine
        )
    assert all(result.status == "done" for result in make_runner(spacing).run())
    masks = [nib.load(tmp_path / "out" / f"{number:02}_seg.nii.gz") for number in range(48)]
    straight = next(
        n for n, turn in enumerate(turns) if np.array_equal(turn, [[0, 1], [1, 1], [2, 1]])
    )
    reference = nib.Nifti1Image(np.asanyarray(masks[straight].dataobj), oblique())
    if spacing is None:
        assert np.array_equal(
            np.asanyarray(reference.dataobj), kit.expected(kit.values((5, 6, 7), 9), oblique())
        )
    assert set(np.unique(np.asanyarray(reference.dataobj))) == {0, 1, 2}
    for mask, turn in zip(masks, turns, strict=True):
        turned = reference.as_reoriented(turn)
        assert np.array_equal(np.asanyarray(mask.dataobj), np.asanyarray(turned.dataobj))
        assert np.abs(mask.affine - turned.affine).max() < 1e-4


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (20, 3, 30), (1, 9, 9), (9, 9, 1), (1, 1, 1), (17, 16, 15)], ids=str
)
def test_volumes_smaller_than_the_patch(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace, shape: tuple[int, ...]
) -> None:
    """What is padded is cropped away, and every voxel is where it was."""
    array = kit.values(shape)
    kit.write_nifti(tmp_path / "in" / "a.nii", array)
    inferer = SlidingWindowInferer((16, 16, 16), 2, 0.5, "gaussian")
    result = make_runner(network=kit.Sides(split=False), inferer=inferer, preview=True).run()[0]
    assert result.status == "done", result.reason
    mask = np.asanyarray(nib.load(tmp_path / "out" / "a_seg.nii.gz").dataobj)
    assert mask.shape == shape
    assert np.array_equal(mask > 0, array > 0.5)


@pytest.mark.parametrize(("value", "classes"), [(0.0, {0}), (0.25, {0}), (1.0, {1, 2})])
def test_a_constant_scan_is_segmented_with_a_remark(
    tmp_path: Path, make_runner: Make, kit: SimpleNamespace, value: float, classes: set[int]
) -> None:
    kit.write_nifti(tmp_path / "in" / "a.nii", np.full((6, 6, 6), value, dtype=np.float32))
    result = make_runner(preview=True).run()[0]
    assert result.status == "done"
    assert "W_CONSTANT" in result.reason
    assert (
        set(np.unique(np.asanyarray(nib.load(tmp_path / "out" / "a_seg.nii.gz").dataobj)))
        == classes
    )


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


def test_several_inputs(tmp_path: Path, make_runner: Make, kit: SimpleNamespace) -> None:
    one = kit.write_nifti(tmp_path / "one.nii", kit.values((4, 4, 4), 1))
    for folder in ("x", "y"):
        kit.write_nifti(tmp_path / folder / "scan.nii", kit.values((4, 4, 4), 2))
    results = make_runner(inputs=[str(one), str(tmp_path / "x"), str(tmp_path / "y")]).run()
    assert sorted(result.output for result in results) == [
        "one_seg.nii.gz",
        "x/scan_seg.nii.gz",
        "y/scan_seg.nii.gz",
    ]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, mixed: Path, make_runner: Make) -> None:
    for name in ("out", "again"):
        make_runner(output_dir=str(tmp_path / name)).run()
    masks = [name for name in tree(tmp_path / "out") if name.endswith("_seg.nii.gz")]
    assert len(masks) == 3
    assert all(
        (tmp_path / "out" / m).read_bytes() == (tmp_path / "again" / m).read_bytes() for m in masks
    )


def test_overwriting_leaves_nothing_of_the_earlier_run(
    tmp_path: Path, mixed: Path, make_runner: Make
) -> None:
    """A scan that fails now must not keep the mask, nor a new mask the picture, of another time."""
    make_runner(preview=True).run()
    (mixed / "lps.nii").write_bytes((mixed / "lps.nii").read_bytes()[:400])
    make_runner(overwrite=True).run()
    assert [
        name
        for name in tree(tmp_path / "out")
        if not name.startswith(("report", "manifest", "index"))
    ] == ["a/oblique_seg.nii.gz", "b/series_seg.nii.gz"]
    assert by_input(tmp_path / "out", mixed)["lps.nii"]["code"] == "E_TRUNCATED"


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


def test_no_network_is_used(
    tmp_path: Path, mixed: Path, make_runner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert any(result.status == "done" for result in make_runner(preview=True).run())


@pytest.mark.parametrize("values", [[0, 205, 420], [0, 1, 4], [0, 8, 16], [-1, 0, 1]], ids=str)
def test_outputs_have_the_numbers_of_the_label_files(
    values: list[int], tmp_path: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    """Masks, names, volumes, measures, pictures and DICOM SEG agree on every label."""
    array = kit.values((16, 17, 15), 3)
    affine = kit.write_dicom(tmp_path / "in" / "series", array)
    names = dict(zip(map(str, values), ["background", "left", "right"], strict=True))
    runner = make_runner(
        label_names=names,
        label_values=values,
        output_type=["nifti", "dicom_seg"],
        preview=True,
        segment_codes={str(values[2]): {"value": "5366008", "scheme": "SCT", "meaning": "x"}},
    )
    (result,) = runner.run()
    assert result.status == "done", result.reason
    expected = kit.expected(array, affine)
    image = nib.load(tmp_path / "out" / "series_seg.nii.gz")
    assert np.array_equal(np.asanyarray(image.dataobj), np.asarray(values)[expected])
    kind = np.int16 if min(values) < 0 else np.uint16 if max(values) > 255 else np.uint8
    assert image.get_data_dtype() == kind
    assert read_label_names(tmp_path / "out" / "series_seg.nii.gz") == {
        int(value): name for value, name in names.items()
    }
    ml = abs(np.linalg.det(affine)) / 1000
    assert result.volumes_ml == pytest.approx(
        {"left": (expected == 1).sum() * ml, "right": (expected == 2).sum() * ml}
    )
    assert set(result.measures) == {"left", "right"}
    segments = pydicom.dcmread(tmp_path / "out" / "series_seg.dcm").SegmentSequence
    assert [(s.SegmentNumber, s.SegmentLabel, s.SegmentDescription) for s in segments] == [
        (1, "left", f"label number {values[1]}"),
        (2, "right", f"label number {values[2]}"),
    ]
    assert segments[1].SegmentedPropertyTypeCodeSequence[0].CodeValue == "5366008"
    assert (tmp_path / "out" / "series_preview.png").is_file()


def test_memory_is_estimated_for_every_output(make_runner: Make) -> None:
    """Of the network's outputs, not of the names or of the highest number."""
    names = {"0": "background", "205": "a", "420": "b"}
    runner = make_runner(label_names=names, label_values=[0, 205, 420])
    assert runner._segmenter().inferer.classes == 3
    gap = make_runner(label_names={"0": "background", "4": "b"})
    assert gap._segmenter().inferer.classes == 5, "without numbers, classes are the names' numbers"


def test_numbers_without_names_stop_before_any_work(make_runner: Make) -> None:
    with pytest.raises(ConfigError, match="a name for every number"):
        make_runner(label_values=[0, 205, 420])


def test_a_dicom_seg_of_rounded_geometry(
    tmp_path: Path, make_runner: Make, make: SimpleNamespace
) -> None:
    """Positions with two decimals and cosines with three: the mask and the SEG are written."""

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
