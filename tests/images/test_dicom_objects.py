"""Enhanced objects: one volume with its frames in any order, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom.dataset import Dataset

from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import SemisegError


def repeated(data: Dataset) -> None:
    """Write two frames at each position, of two echoes."""
    data.NumberOfFrames *= 2
    data.PixelData *= 2
    for number, item in enumerate(list(data.PerFrameFunctionalGroupsSequence) * 2):
        copy = Dataset()
        echo = Dataset()
        copy.update(item)
        echo.EffectiveEchoTime = 10.0 if number < data.NumberOfFrames // 2 else 20.0
        copy.MREchoSequence = [echo]
        data.PerFrameFunctionalGroupsSequence.append(copy)
    del data.PerFrameFunctionalGroupsSequence[: data.NumberOfFrames // 2]


def gapped(data: Dataset) -> None:
    frame = data.Rows * data.Columns * 2
    data.PixelData = data.PixelData[: 2 * frame] + data.PixelData[3 * frame :]
    del data.PerFrameFunctionalGroupsSequence[2]
    data.NumberOfFrames -= 1


def unplaced(data: Dataset) -> None:
    del data.PerFrameFunctionalGroupsSequence
    del data.SharedFunctionalGroupsSequence


def concatenated(data: Dataset) -> None:
    data.InConcatenationNumber = 1
    data.InConcatenationTotalNumber = 3


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (repeated, "E_UNSUPPORTED", "2 volumes of 6 frames"),
        (gapped, "E_GAP", "multi.dcm frame 2"),
        (unplaced, "E_UNSUPPORTED", "6 frames (MR) without positions"),
        (concatenated, "E_UNSUPPORTED", "one of 3 parts"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_enhanced_objects_that_are_not_one_volume(
    make: SimpleNamespace, tmp_path: Path, edit: Callable[[Dataset], None], code: str, words: str
) -> None:
    make.enhanced(tmp_path / "multi.dcm", edit=edit)
    found = find_cases(tmp_path, progress=False)
    assert len(found.cases) == 1
    with pytest.raises(SemisegError) as caught:
        read_case(found.cases[0])
    assert caught.value.code == code and words in str(caught.value)


def test_frames_in_any_order(make: SimpleNamespace, tmp_path: Path) -> None:
    def shuffled(data: Dataset) -> None:
        order = np.random.default_rng(0).permutation(data.NumberOfFrames)
        frames = np.frombuffer(data.PixelData, "<i2").reshape(data.NumberOfFrames, -1)
        data.PixelData = frames[order].tobytes()
        items = list(data.PerFrameFunctionalGroupsSequence)
        data.PerFrameFunctionalGroupsSequence = [items[k] for k in order]

    make.enhanced(tmp_path / "multi.dcm", edit=shuffled)
    make.assert_true(read_case(find_cases(tmp_path, progress=False).cases[0]))
