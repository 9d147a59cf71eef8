"""Folder runs over archives, flat folders, label maps, broken links and names that are no text."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.inference.runner import BatchRunner

Make = Callable[..., BatchRunner]


def masks(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*_seg.nii.gz"))


def report(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "report.json").read_text())["cases"]  # type: ignore[no-any-return]


@pytest.fixture
def flat(tmp_path: Path, kit: SimpleNamespace) -> Path:
    """Create a folder with two series in it and nothing else."""
    for seed, name in enumerate(("a", "b")):
        kit.write_dicom(tmp_path / name, kit.values((7, 6, 5), seed))
        (tmp_path / "flat").mkdir(exist_ok=True)
        for file in (tmp_path / name).iterdir():
            file.rename(tmp_path / "flat" / f"{name}{file.name}")
    return tmp_path / "flat"


def test_two_flat_archives(tmp_path: Path, flat: Path, make_runner: Make) -> None:
    """Check that masks, report and resume identity come from the archives' own paths."""
    for name in ("patA", "patB"):
        shutil.make_archive(str(tmp_path / "in" / name), "zip", flat)
    assert [r.status for r in make_runner().run()] == ["done"] * 4
    out = tmp_path / "out"
    expected = [
        "patA/series_1_seg.nii.gz",
        "patA/series_2_seg.nii.gz",
        "patB/series_1_seg.nii.gz",
        "patB/series_2_seg.nii.gz",
    ]
    assert masks(out) == expected
    inputs = [row["input"] for row in report(out)]
    assert inputs == [
        str(tmp_path / "in" / f"{name}.zip") for name in ("patA", "patA", "patB", "patB")
    ]
    written = {name: (out / name).stat().st_mtime_ns for name in masks(out)}
    assert len(make_runner().run()) == 4
    assert {name: (out / name).stat().st_mtime_ns for name in masks(out)} == written
    shutil.make_archive(str(tmp_path / "in" / "patB"), "zip", flat)  # written anew
    make_runner().run()
    again = [name for name, when in written.items() if (out / name).stat().st_mtime_ns != when]
    assert again == expected[2:]


def test_a_single_scan_in_an_archive_is_not_computed_again(
    tmp_path: Path, kit: SimpleNamespace, make_runner: Make
) -> None:
    kit.write_nifti(tmp_path / "one" / "s.nii", kit.values((7, 6, 5), 0))
    bad = tmp_path / "one" / "bad.nii"
    bad.write_text("no scan")
    shutil.make_archive(str(tmp_path / "in" / "p"), "zip", tmp_path / "one")
    make_runner().run()
    mask = tmp_path / "out" / "p" / "s_seg.nii.gz"
    written = mask.stat().st_mtime_ns
    make_runner().run()
    assert mask.stat().st_mtime_ns == written
    text = (tmp_path / "out" / "report.json").read_text()
    assert f"{tmp_path}/in/p.zip/bad.nii: no NIfTI header" in text
    assert "monai_semiseg-" not in text  # the temporary folder's name


@pytest.mark.parametrize("spelt", [".", "{}", "{}/", "../flat"])
def test_a_flat_folder(
    tmp_path: Path, flat: Path, make_runner: Make, spelt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flat)
    make_runner(inputs=spelt.format(flat)).run()
    assert masks(tmp_path / "out") == ["flat_1_seg.nii.gz", "flat_2_seg.nii.gz"]


def test_names_that_are_no_text(tmp_path: Path, kit: SimpleNamespace, make_runner: Make) -> None:
    """Read files whose names ITK does not accept."""
    root = tmp_path / "in"
    out = tmp_path / "out"
    odd = os.fsdecode(b"caf\xe9")
    kit.write_nifti(root / "good.nii.gz", kit.values((7, 6, 5), 0))
    kit.write_nifti(tmp_path / "s.nii.gz", kit.values((7, 6, 5), 1))
    (tmp_path / "s.nii.gz").rename(root / f"{odd}.nii.gz")
    (root / f"{odd}2.nii").write_text("no scan")
    (root / f"{odd}.txt").write_text("text")
    assert make_runner(preview=True).run() and masks(out) == [
        "caf_xe9_seg.nii.gz",
        "good_seg.nii.gz",
    ]
    rows = {Path(row["input"]).name: row for row in report(out)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "caf\\xe9.nii.gz": "done",
        "caf\\xe92.nii": "failed",
        "caf\\xe9.txt": "skipped",
        "good.nii.gz": "done",
    }
    assert "caf\\xe92.nii: no NIfTI header" in rows["caf\\xe92.nii"]["reason"]
    with (out / "report.csv").open(encoding="utf-8") as stream:
        assert {row["input"] for row in csv.DictReader(stream)} == {
            row["input"] for row in report(out)
        }
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "caf_xe9_preview.png" in page and "caf\\xe92.nii" in page
    written = (out / "caf_xe9_seg.nii.gz").stat().st_mtime_ns
    make_runner(preview=True).run()
    assert (out / "caf_xe9_seg.nii.gz").stat().st_mtime_ns == written


def test_a_link_to_nowhere_is_a_failed_case(
    tmp_path: Path, kit: SimpleNamespace, make_runner: Make
) -> None:
    kit.write_nifti(tmp_path / "in" / "s.nii", kit.values((7, 6, 5), 0))
    (tmp_path / "in" / "gone.nii.gz").symlink_to("/nowhere/scan.nii.gz")
    runner = make_runner()
    rows = {Path(row.input).name: row for row in runner.run()}
    assert rows["s.nii"].status == "done"
    assert (rows["gone.nii.gz"].status, rows["gone.nii.gz"].code) == ("failed", "E_FORMAT")
    assert "a broken link to /nowhere/scan.nii.gz" in rows["gone.nii.gz"].reason
    assert runner.exit_code() == 3


def test_whole_numbers_under_a_plain_name_are_segmented_with_a_remark(
    tmp_path: Path, kit: SimpleNamespace, make_runner: Make
) -> None:
    label = np.zeros((7, 6, 5), np.uint8)
    label[2:4] = 1
    for name in ("plain.nii", "a_dseg.nii", "b/c_dseg.nii"):
        kit.write_nifti(tmp_path / "in" / name, label)
    # A scan of more than a few values has no remark.
    kit.write_nifti(tmp_path / "in" / "scan.nii", kit.values((7, 6, 5), 1))
    inputs = [str(tmp_path / "in" / name) for name in ("plain.nii", "a_dseg.nii", "b", "scan.nii")]
    rows = {Path(row.input).name: row for row in make_runner(inputs=inputs).run()}
    assert {name: (row.status, "W_LABEL_LIKE" in row.reason) for name, row in rows.items()} == {
        "plain.nii": ("done", True),
        "a_dseg.nii": ("done", True),  # named by the user
        "c_dseg.nii": ("skipped", False),
        "scan.nii": ("done", False),
    }


def test_no_scan_is_said_with_what_was_there(tmp_path: Path, make_runner: Make) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match=r"no scan found .there is no file"):
        make_runner().run()
    for n in range(3):
        (tmp_path / "in" / f"{n}.txt").write_text("text")
    words = "among 3 files: 3 x not a scan"
    with pytest.raises(ConfigError, match=words) as error:
        make_runner().run()
    assert len(str(error.value).splitlines()) <= 4
