"""Search in unusual layouts: flat folders, archives, label maps, channels, non-text names."""

from __future__ import annotations

import itertools
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_semiseg.datasets.cases import FoundCases
from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import InputError, UnsupportedError


def ids(*inputs: str | Path) -> list[str]:
    with find_cases(list(inputs), progress=False) as found:
        return [case.id for case in found.cases]


def skipped(found: FoundCases) -> dict[str, str]:
    return {one.source.name: one.reason for one in found.skipped}


@pytest.fixture
def flat(make: SimpleNamespace, tmp_path: Path) -> Path:
    """Write a folder that contains two series itself."""
    for name in "ab":
        make.series(tmp_path / "flat", name=name + "{}", count=5)
    return tmp_path / "flat"


def test_a_flat_folder_however_it_is_spelt(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (flat.parent / "other").mkdir()
    for where, spelt in (
        (flat, "."),
        (flat, "./"),
        (flat, str(flat)),
        (flat, f"{flat}/"),
        (flat.parent, "flat"),
        (flat.parent, "flat/"),
        (flat.parent / "other", "../flat"),
    ):
        monkeypatch.chdir(where)
        assert ids(spelt) == ["flat_1", "flat_2"], spelt


def test_a_flat_folder_among_others(flat: Path, make: SimpleNamespace) -> None:
    make.nifti(flat.parent / "x" / "s.nii")
    assert ids(flat, flat.parent / "x") == ["flat/flat_1", "flat/flat_2", "x/s"]
    for file in flat.glob("b*"):
        file.unlink()
    assert ids(flat) == ["flat"]


def test_flat_archives_are_told_apart(flat: Path) -> None:
    packed = flat.parent / "packed"
    packed.mkdir()
    for name in ("patA", "patB"):
        shutil.make_archive(str(packed / name), "zip", flat)
    expected = ["patA/series_1", "patA/series_2", "patB/series_1", "patB/series_2"]
    assert ids(packed) == ids(packed) == expected
    assert ids(packed / "patA.zip") == expected[:2]
    with find_cases(packed, progress=False) as found:
        assert {case.source for case in found.cases} == {packed / "patA.zip", packed / "patB.zip"}


def test_sources_in_archives(make: SimpleNamespace, tmp_path: Path) -> None:
    make.nifti(tmp_path / "in" / "deep" / "s.nii")
    (tmp_path / "in" / "notes.txt").write_text("text")
    archive = Path(shutil.make_archive(str(tmp_path / "p"), "zip", tmp_path / "in"))
    with find_cases(archive, progress=False) as found:
        assert found.cases[0].source == archive / "deep" / "s.nii"
        assert [one.source for one in found.skipped] == [archive / "notes.txt"]
        text = f"E_X {found.cases[0].files[0]}: bad"
        assert found.cases[0].with_archive_path(text) == f"E_X {archive}/deep/s.nii: bad"


@pytest.mark.parametrize("name", ["a.mnc", "s.nii.zst"])
def test_scans_in_formats_that_are_not_read_fail_by_name(tmp_path: Path, name: str) -> None:
    """Check that they are not passed over: somebody wants them segmented."""
    (tmp_path / name).write_bytes(bytes(range(200)))
    (case,) = find_cases(tmp_path, progress=False).cases
    with pytest.raises(UnsupportedError, match="which is not read"):
        read_case(case)


def test_an_empty_archive_is_named(make: SimpleNamespace, tmp_path: Path) -> None:
    make.nifti(tmp_path / "s.nii")
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    with find_cases(tmp_path, progress=False) as found:
        assert [case.id for case in found.cases] == ["s"]
        assert skipped(found) == {"empty.zip": "an empty archive"}


def write(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """Write two subjects with segmentations, and scans with similar names."""
    rng = np.random.default_rng(0)
    label = np.zeros((12, 12, 12), np.uint8)
    label[3:7, 3:7, 3:7] = 1
    root = tmp_path / "bids"
    for n in (1, 2):
        name = f"sub-0{n}"
        write(root / name / "anat" / f"{name}_T1w.nii.gz", rng.random((12, 12, 12)))
        write(root / f"derivatives/x/{name}/anat/{name}_dseg.nii.gz", label)
        write(root / f"derivatives/x/{name}/anat/{name}_mask.nii.gz", label.astype(np.float32))
    ct = rng.integers(-1000, 3000, (12, 12, 12)).astype(np.int16)
    write(root / "seg_1.nii.gz", ct)
    write(root / "mask_study" / "scan.nii.gz", label)
    write(root / "labels" / "scan.nii.gz", ct)
    return root


def test_label_maps_are_left_out_by_name_and_content(bids: Path) -> None:
    found = find_cases(bids, progress=False)
    assert [case.id for case in found.cases] == [
        "labels/scan",
        "mask_study/scan",
        "seg_1",
        "sub-01/anat/sub-01_T1w",
        "sub-02/anat/sub-02_T1w",
    ]
    label_maps = [
        f"sub-0{n}_{kind}.nii.gz" for n, kind in itertools.product((1, 2), ("dseg", "mask"))
    ]
    assert skipped(found) == dict.fromkeys(label_maps, "a label map, not a scan")


def test_a_label_map_that_is_named_is_taken(bids: Path) -> None:
    file = next(bids.rglob("sub-01_dseg.nii.gz"))
    assert ids(file) == ["sub-01_dseg"]


@pytest.mark.parametrize(
    ("names", "failed"),
    [
        ([f"case_000{n}" for n in range(4)] + ["solo_0000", "plain"], 4),
        (["p_FLAIR", "p_t1", "q_T1"], 2),
        (["FLAIR", "T1", "T2"], 3),
    ],
)
def test_channels_fail_and_scans_beside_them_do_not(
    make: SimpleNamespace, tmp_path: Path, names: list[str], failed: int
) -> None:
    files = [make.nifti(tmp_path / "in" / f"{name}.nii.gz") for name in names]
    cases = find_cases(tmp_path / "in", progress=False).cases
    faults = [case.fault for case in cases if case.fault is not None]
    assert len(cases) == len(names) and len(faults) == failed
    assert all(isinstance(fault, UnsupportedError) for fault in faults)
    assert f"one of {failed} channels of" in str(faults[0])
    # Named one by one, they are what the user wants to be segmented.
    assert all(case.fault is None for case in find_cases(files, progress=False).cases)


def test_contrasts_of_one_patient_in_folders_of_their_own_are_scans(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    for name in ("T1", "FLAIR"):
        make.nifti(tmp_path / name / "p.nii")
    assert [case.fault for case in find_cases(tmp_path, progress=False).cases] == [None, None]


def test_names_that_are_no_text(make: SimpleNamespace, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    for suffix in (".nii", ".nii.gz"):
        make.nifti(tmp_path / f"s{suffix}").rename(tmp_path / f"{odd}{suffix}")
    make.series(tmp_path / odd)
    cases = find_cases(tmp_path, progress=False).cases
    assert [case.id for case in cases] == ["caf_xe9", "caf_xe9_2", "caf_xe9_3"]
    for case in cases:
        make.assert_true(read_case(case))


def test_pictures_are_cases(tmp_path: Path) -> None:
    """Check that those that cannot be read fail by name, and are not passed over."""
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.dat").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (tmp_path / "c.webp").write_bytes(b"RIFF\x64\0\0\0WEBP" + bytes(100))
    (tmp_path / "d.jp2").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))
    cases = find_cases(tmp_path, progress=False).cases
    assert [(case.id, case.kind) for case in cases] == [
        (name, "picture") for name in ("a", "b.dat", "c.webp", "d.jp2")
    ]
    assert read_case(cases[0]).shape == (8, 8, 1)
    for case in cases[1:]:
        with pytest.raises(InputError, match=case.id):
            read_case(case)


def test_a_folder_that_cannot_be_listed_is_a_failed_case(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.nifti(tmp_path / "s.nii")
    make.nifti(tmp_path / "closed" / "t.nii")
    listed = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    cases = find_cases(tmp_path, progress=False).cases
    assert [(case.id, case.fault is None) for case in cases] == [("closed", False), ("s", True)]
