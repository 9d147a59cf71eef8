"""A folder through one network: every mask on its scan's own grid, every input in the report."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.inferers import SlidingWindowInferer

from tests.inference.run_folders import Make, by_input, oblique, report, tree


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
            f"manifest/run_0001_{platform.node()}_{os.getpid()}.jsonl",
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
    """Check that of the voxels above the level, those at smaller RAS x are class 1."""
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
    """Compare the prediction of a reoriented scan with the reoriented prediction, by voxel."""
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
    """Check that padding is cropped away, and that every voxel is where it was."""
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
    """Remove the mask of a scan that fails now, and the picture of a mask that is replaced."""
    make_runner(preview=True).run()
    (mixed / "lps.nii").write_bytes((mixed / "lps.nii").read_bytes()[:400])
    make_runner(overwrite=True).run()
    assert [
        name
        for name in tree(tmp_path / "out")
        if not name.startswith(("report", "manifest", "index"))
    ] == ["a/oblique_seg.nii.gz", "b/series_seg.nii.gz"]
    assert by_input(tmp_path / "out", mixed)["lps.nii"]["code"] == "E_TRUNCATED"


def test_no_network_is_used(
    tmp_path: Path, mixed: Path, make_runner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert any(result.status == "done" for result in make_runner(preview=True).run())
