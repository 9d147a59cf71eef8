"""Images with other channels than the weights expect are refused by name."""

from __future__ import annotations

import pytest

from monai_semiseg.errors import ChannelError
from monai_semiseg.inference.expected_image import ExpectedImage

RGB = ("red", "green", "blue")
MR = ("FLAIR", "T1", "T1post", "T2")


@pytest.mark.parametrize(
    ("expected", "shape", "channels", "told"),
    [
        (ExpectedImage(1), (8, 6, 1, 3), RGB, ["3 channels (red, green, blue)", "1 channel,"]),
        (ExpectedImage(3, RGB), (8, 6, 1), (), ["1 channel;", "3 channels (red, green, blue)"]),
        (ExpectedImage(4, MR), (8, 6, 5, 2), MR[:2], ["2 channels (FLAIR, T1)", ", ".join(MR)]),
        (ExpectedImage(None, MR), (8, 6, 5), (), ["1 channel;", "4 channels"]),
        (ExpectedImage(4, MR), (8, 6, 5, 4), MR[::-1], [", ".join(MR[::-1]), ", ".join(MR)]),
    ],
)
def test_refused(
    expected: ExpectedImage, shape: tuple[int, ...], channels: tuple[str, ...], told: list[str]
) -> None:
    with pytest.raises(ChannelError) as error:
        expected.check(shape, channels, "case/a.png")
    assert all(words in error.value.reason for words in [*told, "case/a.png"])
    assert error.value.code == "E_CHANNELS"


@pytest.mark.parametrize(
    ("expected", "shape", "channels"),
    [
        (ExpectedImage(), (8, 6, 1, 3), RGB),
        (ExpectedImage(1), (8, 6, 5), ()),
        (ExpectedImage(1, ("MR",)), (8, 6, 5), ()),
        (ExpectedImage(1), (8, 6, 5, 1), ("0",)),
        (ExpectedImage(3, RGB), (8, 6, 1, 3), RGB),
        (ExpectedImage(2, ("FLAIR", "T1")), (8, 6, 5, 2), ("0000", "0001")),  # names of files
    ],
)
def test_taken(expected: ExpectedImage, shape: tuple[int, ...], channels: tuple[str, ...]) -> None:
    expected.check(shape, channels, "a")
