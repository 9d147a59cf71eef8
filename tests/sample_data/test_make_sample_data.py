"""The shipped sample data are what their script makes: small, and not easy."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from monai_semiseg.datasets.discover import find_cases, read_case

FOLDER = Path(__file__).resolve().parents[2] / "sample_data"
DESCRIPTION = json.loads((FOLDER / "dataset" / "dataset.json").read_text())
LABELLED = [item for item in DESCRIPTION["training"] if "label" in item]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """Return the script, imported as a module."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("make_sample_data")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("number", [0, 4, 13])
def test_the_script_makes_the_shipped_scans(maker: ModuleType, number: int) -> None:
    """Allow a difference of one in one voxel of a thousand: processors round cosines otherwise."""
    site = maker.SITE_CYCLE[number % len(maker.SITE_CYCLE)]
    axes = maker.AXES_CYCLE[number % len(maker.AXES_CYCLE)]
    scan = maker.Scan.draw(number, site, axes, oblique=number % 3 == 0)
    for kind, made in (("image", scan.image), ("label", scan.label)):
        shipped = nib.load(FOLDER / "dataset" / DESCRIPTION["training"][number][kind])
        np.testing.assert_allclose(shipped.affine, scan.affine, atol=1e-4)
        stored = np.asarray(shipped.dataobj)
        assert stored.shape == made.shape and stored.dtype == made.dtype
        assert np.mean(stored != made) < 1e-3


def test_two_runs_write_the_same_bytes(maker: ModuleType, tmp_path: Path) -> None:
    scan = maker.Scan.draw(3, "inverted", "PIR", oblique=True)
    for name in ("first", "second"):
        maker.write_nifti(tmp_path / name / "scan.nii.gz", scan.image, scan.affine)
        maker.write_series(tmp_path / name / "series", scan, 9)
    first = sorted(path for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert len(first) == 1 + scan.image.shape[2]
    for path in first:
        assert (
            path.read_bytes()
            == (tmp_path / "second" / path.relative_to(tmp_path / "first")).read_bytes()
        )


@pytest.mark.parametrize("item", LABELLED, ids=lambda item: Path(item["label"]).name)
def test_core_lies_inside_shell(item: dict[str, str]) -> None:
    label = np.asarray(nib.load(FOLDER / "dataset" / item["label"]).dataobj)
    assert set(np.unique(label)) == {0, 1, 2}
    around = binary_dilation(label == 2) & (label != 2)
    assert (label[around] == 1).all()


def test_sites_and_grids_differ() -> None:
    images = [nib.load(FOLDER / "dataset" / item["image"]) for item in DESCRIPTION["training"]]
    assert len({nib.aff2axcodes(image.affine) for image in images}) >= 4
    oblique = [np.count_nonzero(np.abs(image.affine[:3, :3]) > 1e-3) > 3 for image in images]
    assert 5 <= sum(oblique) < len(images)
    assert {image.get_data_dtype().kind for image in images} == {"u", "i"}


def test_folder_to_segment() -> None:
    """Check that three NIfTI files and two series are cases.

    The localizer is three planes and no scan.
    """
    found = find_cases(FOLDER / "scans", progress=False)
    assert [case.kind for case in found.cases].count("dicom") == 2
    assert len(found.cases) == 5
    assert len(found.skipped) == 3 and all(
        "LOC" in str(skipped.source) for skipped in found.skipped
    )


def test_series_hold_the_scan_that_was_drawn(maker: ModuleType) -> None:
    found = find_cases(FOLDER / "scans" / "dicom" / "series_a", progress=False)
    volume = read_case(found.cases[0])
    scan = maker.Scan.draw(110, "bright_core", "LPS", oblique=True)
    as_drawn = nib.as_closest_canonical(nib.Nifti1Image(scan.image.astype(np.int16), scan.affine))
    as_read = nib.as_closest_canonical(
        nib.Nifti1Image(volume.array.astype(np.int16), volume.affine)
    )
    np.testing.assert_allclose(as_read.affine, as_drawn.affine, atol=1e-3)
    assert np.mean(np.asarray(as_read.dataobj) != np.asarray(as_drawn.dataobj)) < 1e-3


def test_small() -> None:
    size = sum(
        path.stat().st_size
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    )
    assert size <= 4_000_000


def test_datalist_is_the_one_that_split_writes(tmp_path: Path) -> None:
    from monai_semiseg.cli.main import main

    written = tmp_path / "datalist.json"
    main(["split", str(FOLDER / "dataset"), "--labelled", "12", "--output", str(written)])
    assert written.read_bytes() == (FOLDER / "dataset" / "datalist.json").read_bytes()
