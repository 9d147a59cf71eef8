"""Checks of the values of label files."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_semiseg.datasets.label_checks import (
    invalid_label_files,
    require_classes,
    require_values,
)
from monai_semiseg.errors import LabelError


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (range(1, 105), False),  # as TotalSegmentator numbers its classes
        ([205, 420, 500, 550, 600, 820, 850], False),  # as MM-WHS does
        ([1, 2, 4], False),  # as BraTS did
        ([85, 170, 255], False),
        (range(1, 256), True),
        ([1, 2, 3, 250, 251, 252, 253, 254, 255], True),  # JPEG
        ([1, 255], True),
    ],
    ids=str,
)
def test_numbers_that_nobody_declared(found: list[int], refused: bool) -> None:
    counts = {"a.nii": dict.fromkeys([0, *found], 9)}
    require_classes(dict.fromkeys([0, *found], "a class"), counts, Path("data"))
    if not refused:
        require_classes({}, counts, Path("data"))
        return
    with pytest.raises(LabelError) as caught:
        require_classes({}, counts, Path("data"))
    assert len(str(caught.value).splitlines()) <= 4 and "a.nii" in str(caught.value)


WHITE = {0: 5000, 255: 2000}


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (WHITE | dict.fromkeys(range(1, 255), 5), "--label_threshold 127"),
        (WHITE | {2: 3, 253: 4}, "--label_threshold 127"),
        (WHITE | {1: 900, 2: 800}, "it often marks voxels to ignore"),
        (WHITE | dict.fromkeys(range(1, 105), 900), "it often marks voxels to ignore"),
        (dict.fromkeys(range(0, 60000, 1000), 9), "--label_threshold 32767"),
    ],
    ids=["every grey level", "compressed", "ignored", "many classes, ignored", "16 bits"],
)
def test_grey_levels_and_ignored_voxels(counts: dict[int, int], words: str) -> None:
    """Take rare levels between black and white for those of a border."""
    with pytest.raises(LabelError, match=words):
        require_classes({}, {"a.png": counts}, Path("data"))


def test_masks_of_which_some_hold_1_and_others_255() -> None:
    """It is not said that 255 marks what is to be ignored, nor if one file holds both."""
    counts = {"a.png": {0: 9, 1: 5}, "b.png": {0: 9, 255: 5}, "c.png": {0: 9, 255: 5}}
    with pytest.raises(
        LabelError, match=r"0 and 1 in 1 \(such as a.png\), 0 and 255 in 2"
    ) as caught:
        require_classes({}, counts, Path("data"))
    assert caught.value.remedy.startswith("--label_threshold 0:")
    with pytest.raises(LabelError, match="it often marks voxels to ignore"):
        require_classes({}, counts | {"d.png": {0: 9, 1: 3, 255: 5}}, Path("data"))


def test_every_level_below_white_is_grey() -> None:
    """A wide smooth border has as many voxels as classes have."""
    counts = WHITE | dict.fromkeys(range(1, 255), 90)
    with pytest.raises(LabelError, match="--label_threshold 127"):
        require_classes({}, {"a.png": counts}, Path("data"))


@pytest.mark.parametrize("between", [128, 85])
def test_frequent_grey_is_a_class(between: int) -> None:
    require_classes({}, {"a.png": WHITE | {between: 200}}, Path("data"))


def test_grey_levels_of_most_files_are_a_fault_of_the_dataset() -> None:
    grey = WHITE | dict.fromkeys(range(1, 255, 5), 5)
    files = {f"{n}.png": grey if n else WHITE for n in range(5)}
    with pytest.raises(LabelError, match="--label_threshold 127"):
        invalid_label_files({}, files, "data")
    one = {f"{n}.png": WHITE if n else grey for n in range(5)}
    assert list(invalid_label_files({}, one, "data")) == ["0.png"]


@pytest.mark.parametrize(
    ("counts", "declared", "words"),
    [
        ({-1: 3, 0: 9}, {}, r"-1 \(3 voxels\)"),
        ({0: 9, 70000: 1}, {}, "from 0 to 65535"),
        ({0: 9, 7: 1}, {0: "background", 1: "a"}, r"7 \(1 voxels\); declared are 0, 1"),
        ({0: 9, 255: 1}, {1: "a"}, "255 often marks voxels to ignore"),
        ({-1: 3, 1: 9}, {-1: "nothing", 1: "a"}, r"-1 \(3 voxels\)"),
    ],
)
def test_numbers_of_one_file(counts: dict[int, int], declared: dict[int, str], words: str) -> None:
    require_values({0: 9, 1: 3}, declared, "a.nii")
    with pytest.raises(LabelError, match=words):
        require_values(counts, declared, "a.nii")
