"""Search for the cases of a network with several channels: what is one case, in which order."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from monai_semiseg.datasets.cases import FoundCases
from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import UnsupportedError

CHANNELS = ("T1w", "FLAIR", "T2w")


@pytest.fixture
def write(make: SimpleNamespace, tmp_path: Path) -> object:
    """Return a function that writes scans of these names below ``tmp_path/in``."""

    def scans(*names: str) -> Path:
        for name in names:
            make.nifti(tmp_path / "in" / f"{name}.nii.gz", shape=(4, 5, 6))
        return tmp_path / "in"

    return scans


def files(found: FoundCases) -> dict[str, list[str]]:
    """Return case -> its files, in their order."""
    return {case.id: [file.name.split(".")[0] for file in case.files] for case in found.cases}


@pytest.mark.parametrize(
    ("names", "cases"),
    [
        (["p_0000", "p_0001", "p_0002"], {"p": ["p_0000", "p_0001", "p_0002"]}),
        (["p_FLAIR", "p_T1w", "p_T2w"], {"p": ["p_T1w", "p_FLAIR", "p_T2w"]}),
        (["flair-p", "t1w-p", "t2w-p"], {"p": ["t1w-p", "flair-p", "t2w-p"]}),
        (["p/FLAIR", "p/T1w", "p/T2w"], {"p": ["T1w", "FLAIR", "T2w"]}),
        (["FLAIR", "T1w", "T2w"], {"in": ["T1w", "FLAIR", "T2w"]}),
        (
            [f"sub-1/anat/sub-1_{name}" for name in ("FLAIR", "T2w", "T1w")],
            {"sub-1/anat/sub-1": ["sub-1_T1w", "sub-1_FLAIR", "sub-1_T2w"]},
        ),
        (["whole", "other_0000"], {"whole": ["whole"], "other_0000": ["other_0000"]}),
    ],
)
def test_files_of_a_case(write: object, names: list[str], cases: dict[str, list[str]]) -> None:
    root = write(*names)  # type: ignore[operator]
    found = find_cases(root, CHANNELS, progress=False)
    assert files(found) == cases
    for case in found.cases:
        assert case.fault is None
        assert case.channel_names == (CHANNELS if len(case.files) == 3 else ())
        assert read_case(case).array.shape == (4, 5, 6, 3)[: 4 if len(case.files) == 3 else 3]


def test_a_case_without_one_channel_fails_and_the_others_do_not(write: object) -> None:
    names = [f"{case}_{channel}" for case in "ab" for channel in CHANNELS]
    root = write(*names[:-1])  # type: ignore[operator]
    good, bad = find_cases(root, CHANNELS, progress=False).cases
    assert (good.id, good.fault, bad.id) == ("a", None, "b")
    with pytest.raises(UnsupportedError, match=r"no file for channel T2w .found b_T1w") as error:
        read_case(bad)
    assert len(str(error.value).splitlines()) <= 4


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["in/p/FLAIR", "in/p/T1", "in/p/T2W"], "FLAIR.nii.gz, T2W.nii.gz; unknown: T1.nii.gz"),
        (["in/p_FLAIR", "in/p_T1", "in/q_ADC"], "p_FLAIR.nii.gz; unknown: p_T1.nii.gz"),
    ],
)
def test_files_that_are_named_after_no_channel_are_told(
    names: list[str], found: str, make: SimpleNamespace, tmp_path: Path
) -> None:
    """T1 is not T1w to a program: who reads this knows what to rename."""
    for name in names:
        make.nifti(tmp_path / f"{name}.nii.gz", shape=(4, 5, 6))
    cases = find_cases(tmp_path / "in", CHANNELS, progress=False).cases
    (fault,) = [case.fault for case in cases if case.fault]
    assert f"(found {found})" in str(fault)


def test_two_files_of_one_channel_fail(write: object) -> None:
    root = write("p_T1w", "p_FLAIR", "p_T2w", "FLAIR_p")  # type: ignore[operator]
    (case,) = find_cases(root, CHANNELS, progress=False).cases
    with pytest.raises(UnsupportedError, match="several files for channel FLAIR"):
        read_case(case)


def test_other_contrasts_of_a_case_are_skipped(write: object) -> None:
    root = write(  # type: ignore[operator]
        "p/FLAIR", "p/T1w", "p/T2w", "p/brain", "q_FLAIR", "q_T1w", "q_T2w", "q_T1post", "r"
    )
    found = find_cases(root, CHANNELS, progress=False)
    assert files(found).keys() == {"p", "q", "r"}
    assert {one.source.name: one.reason for one in found.skipped} == dict.fromkeys(
        ("brain.nii.gz", "q_T1post.nii.gz"), "none of the network's channels T1w, FLAIR, T2w"
    )


def test_channels_that_are_named_one_by_one(write: object) -> None:
    root = write("FLAIR", "T1w", "T2w")  # type: ignore[operator]
    paths = [root / f"{name}.nii.gz" for name in ("T2w", "FLAIR", "T1w")]
    found = find_cases(paths, CHANNELS, progress=False)
    assert files(found) == {"in": ["T1w", "FLAIR", "T2w"]}


def test_channels_in_an_archive(write: object, tmp_path: Path) -> None:
    root = write("p/FLAIR", "p/T1w", "p/T2w")  # type: ignore[operator]
    archive = Path(shutil.make_archive(str(tmp_path / "z"), "zip", root))
    with find_cases(archive, CHANNELS, progress=False) as found:
        assert files(found) == {"z/p": ["T1w", "FLAIR", "T2w"]}
        assert found.cases[0].source == archive / "p"
        assert read_case(found.cases[0]).array.shape == (4, 5, 6, 3)


def test_series_in_folders_of_their_channels(make: SimpleNamespace, tmp_path: Path) -> None:
    for name in CHANNELS:
        make.series(tmp_path / "in" / "study" / name)
    (case,) = find_cases(tmp_path / "in", CHANNELS, progress=False).cases
    assert (case.id, case.kind, len(case.files)) == ("study", "dicom", 24)
    assert [file.parent.name for file in case.files[::8]] == list(CHANNELS)
    assert read_case(case).array.shape[3] == 3


def test_a_network_of_one_channel_takes_files_as_they_are(write: object) -> None:
    root = write("p_FLAIR", "p_T1w", "q_FLAIR")  # type: ignore[operator]
    for names in (None, ("FLAIR",)):
        cases = find_cases(root, names, progress=False).cases
        assert [(case.id, case.fault is None) for case in cases] == [
            ("p_FLAIR", False),
            ("p_T1w", False),
            ("q_FLAIR", True),
        ]
        assert "the network has one channel" in str(cases[0].fault)


def test_colour_pictures_hold_their_channels(tmp_path: Path) -> None:
    for name in ("a_red", "b", "c_0001"):
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / f"{name}.png")
    cases = find_cases(tmp_path, ("red", "green", "blue"), progress=False).cases
    assert [(case.id, case.kind, case.fault) for case in cases] == [
        (name, "picture", None) for name in ("a_red", "b", "c_0001")
    ]
