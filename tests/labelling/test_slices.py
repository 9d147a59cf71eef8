"""Slices as people write them."""

from __future__ import annotations

import numpy as np
import pytest

from monai_semiseg.errors import LabelError
from monai_semiseg.images.grid import Grid
from monai_semiseg.labelling.slices import looked_at, slice_axis, slice_order

THICK = Grid((4, 20, 6), np.diag([-1.0, 3.0, 1.0, 1.0]))
CUBIC = Grid((4, 5, 6), np.diag([1.05, 1.0, -1.0, 1.0]))


def test_slices_lie_across_the_thick_axis_else_across_the_last() -> None:
    assert slice_axis(THICK) == 1 and slice_axis(CUBIC) == 2
    assert slice_order(THICK) == "1 (back) to 20 (front)"
    assert slice_order(CUBIC) == "1 (top) to 6 (bottom)"
    assert slice_order(Grid((4, 5, 1), np.eye(4))) == ""
    assert slice_order(Grid((4, 5, 3), np.eye(4), "px")) == "1 to 3 in the order of the file"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("all", range(1, 21)),
        (" 3 ", [3]),
        ("1 to 3; 20", [1, 2, 3, 20]),
        ("5-6, 5", [5, 6]),
        ("19–20", [19, 20]),
    ],
    ids=["all", "one", "two_ranges", "twice", "typographic_dash"],
)
def test_what_people_write(text: str, numbers: list[int]) -> None:
    seen = looked_at(text, THICK)
    assert seen is not None
    whole = np.broadcast_to(seen, THICK.shape)
    for j in range(20):
        assert whole[:, j].all() == whole[:, j].any() == (j + 1 in numbers)


def test_nothing_said() -> None:
    assert looked_at(" ", THICK) is None


@pytest.mark.parametrize("text", ["0 to 3", "4 to 21", "7 to 5", "01.20.2026", "a", "3 4"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(LabelError, match=r"tasks.csv: slices"):
        looked_at(text, THICK, "tasks.csv")
