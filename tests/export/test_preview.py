"""Pictures of scans with contours: where they are cut, and that no odd scan or name breaks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from monai_semiseg.export.preview import Preview, draw_previews

NAMES = {1: "Anterior", 2: "Posterior"}
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(20, 24, 16)).astype(np.float32)
AMBER, CYAN = (255, 176, 0), (0, 208, 255)  # of classes 1 and 2


def block(value: int = 1, shape: tuple[int, ...] = IMAGE.shape) -> NDArray[np.uint8]:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[4:10, 6:14, 3:8] = value
    return mask


def pixels(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.int64)


def near(picture: NDArray[np.int64], colour: tuple[int, int, int]) -> int:
    """Number of pixels of about that colour above the legend."""
    above = picture[: int(0.85 * len(picture))]
    return int((np.abs(above - colour).sum(axis=-1) < 60).sum())


def draw(path: Path, *previews: Preview, names: dict[int, str] | None = None) -> NDArray[np.int64]:
    return pixels(draw_previews(previews, path, NAMES if names is None else names))


def test_contours_have_the_colour_of_their_class(tmp_path: Path) -> None:
    spacing = (1.0, 1.0, 1.0)
    none = draw(tmp_path / "0.png", Preview("none", IMAGE, block(0), spacing))
    one = draw(tmp_path / "1.png", Preview("one", IMAGE, block(1), spacing))
    two = draw(tmp_path / "2.png", Preview("two", IMAGE, block(2), spacing))
    assert near(none, AMBER) == near(none, CYAN) == 0
    assert near(one, AMBER) > 100 > near(one, CYAN)
    assert near(two, CYAN) > 100 > near(two, AMBER)


def test_numbers_far_apart_have_colours_of_their_own(tmp_path: Path) -> None:
    """8 and 16 would share one of eight colours; the second label has the second colour, whatever its number."""
    mask = block(0).astype(np.uint16)
    mask[4:10, 6:10, 3:8], mask[4:10, 10:14, 3:8] = 8, 16
    names = {8: "a", 16: "b"}
    picture = draw(tmp_path / "a.png", Preview("a", IMAGE, mask, (1.0, 1.0, 1.0)), names=names)
    assert near(picture, AMBER) > 50 < near(picture, CYAN)


def test_the_planes_go_through_the_mask(tmp_path: Path) -> None:
    """A small structure in a corner is seen, not only what lies in the middle."""
    mask = np.zeros(IMAGE.shape, dtype=np.uint8)
    mask[1:3, 20:23, 1:3] = 1
    assert (
        near(draw(tmp_path / "a.png", Preview("corner", IMAGE, mask, (1.0, 1.0, 1.0))), AMBER) > 20
    )


def test_the_reference_is_drawn_and_leads_the_planes_where_nothing_was_found(
    tmp_path: Path,
) -> None:
    label = np.zeros(IMAGE.shape, dtype=np.uint8)
    label[1:5, 18:23, 1:4] = 1
    without = draw(tmp_path / "a.png", Preview("a", IMAGE, block(0), (1.0, 1.0, 1.0)))
    missed = draw(tmp_path / "b.png", Preview("b", IMAGE, block(0), (1.0, 1.0, 1.0), label))
    assert near(without, AMBER) == 0
    assert near(missed, AMBER) > 20


def test_one_row_per_scan(tmp_path: Path) -> None:
    preview = Preview("a", IMAGE, block(), (1.0, 1.0, 1.0))
    heights = [draw(tmp_path / f"{n}.png", *[preview] * n).shape[0] for n in (1, 3)]
    assert heights == [340, 940]


def test_voxels_keep_their_proportions(tmp_path: Path) -> None:
    """Planes of a scan with thick slices are stretched: the picture shows mm."""
    mask = np.zeros((20, 20, 5), dtype=np.uint8)
    mask[2:18, 2:18, 1:4] = 1

    def extent(spacing: tuple[float, ...]) -> float:
        picture = draw(tmp_path / "a.png", Preview("a", np.zeros(mask.shape), mask, spacing))[
            :, :280
        ]
        rows, columns = np.nonzero(np.abs(picture - AMBER).sum(axis=-1) < 60)
        keep = rows < 280
        return float(np.ptp(rows[keep]) / np.ptp(columns[keep]))

    assert extent((1.0, 1.0, 4.0)) == pytest.approx(4 * 3 / 16, rel=0.15)
    assert extent((1.0, 1.0, 1.0)) == pytest.approx(3 / 16, rel=0.25)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (np.full((9, 9, 9), 7.0), block(1, (20, 20, 20))[:9, :9, :9]),
        (IMAGE[:, :, :1], np.ones((20, 24, 1), dtype=np.uint8)),
        (IMAGE[:1, :1], np.ones((1, 1, 16), dtype=np.uint8)),
        (IMAGE.astype(np.int16), block(2)),
        (IMAGE, np.ones(IMAGE.shape, dtype=np.uint8)),
        (IMAGE, np.full(IMAGE.shape, 9, dtype=np.uint8)),
    ],
    ids=["constant", "one slice", "one column", "integers", "mask fills the scan", "unnamed class"],
)
def test_odd_scans_are_drawn(tmp_path: Path, image: NDArray[Any], mask: NDArray[Any]) -> None:
    assert draw(tmp_path / "a.png", Preview("a", image, mask, (1.0, 1.0, 1.0))).std() > 0


@pytest.mark.parametrize(
    "title", ["$\\frac{$ and $x^$", "a_b^c {d} \\alpha", "", "Überfall/患者\n1.00 mL", "%s %d"]
)
def test_names_are_text_and_not_formulas(tmp_path: Path, title: str) -> None:
    draw(
        tmp_path / "a.png",
        Preview(title, IMAGE, block(), (1.0, 1.0, 1.0)),
        names={1: title, 2: "$\\x$"},
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_no_names(tmp_path: Path) -> None:
    assert (
        draw(tmp_path / "a.png", Preview("a", IMAGE, block(), (1.0, 1.0, 1.0)), names={}).std() > 0
    )
