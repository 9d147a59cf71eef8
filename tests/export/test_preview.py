"""Pictures of scans: which way they face, where they are cut, and that nothing odd breaks them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from monai_semiseg.export import preview
from monai_semiseg.export.preview import Preview, draw_previews
from monai_semiseg.export.window import grey_window

NAMES = {1: "Anterior", 2: "Posterior"}
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(20, 24, 16)).astype(np.float32)
AMBER, CYAN = (255, 176, 0), (0, 208, 255)  # of classes 1 and 2
CELL = 300
TITLE = 92  # pixels
ROW = TITLE + CELL


def block(value: int = 1, shape: tuple[int, ...] = IMAGE.shape) -> NDArray[np.uint8]:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[4:10, 6:14, 3:8] = value
    return mask


def pixels(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.int64)


def near(picture: NDArray[np.int64], colour: tuple[int, int, int]) -> int:
    """Return number of pixels of about that colour above the legend."""
    above = picture[: int(0.85 * len(picture))]
    return int((np.abs(above - colour).sum(axis=-1) < 60).sum())


def draw(path: Path, *previews: Preview, names: dict[int, str] | None = None) -> NDArray[np.int64]:
    return pixels(draw_previews(previews, path, NAMES if names is None else names))


def test_contours_have_the_colour_of_their_class(tmp_path: Path) -> None:
    none = draw(tmp_path / "0.png", Preview("none", IMAGE, block(0), np.eye(4)))
    one = draw(tmp_path / "1.png", Preview("one", IMAGE, block(1), np.eye(4)))
    two = draw(tmp_path / "2.png", Preview("two", IMAGE, block(2), np.eye(4)))
    assert near(none, AMBER) == near(none, CYAN) == 0
    assert near(one, AMBER) > 100 > near(one, CYAN)
    assert near(two, CYAN) > 100 > near(two, AMBER)


def test_the_planes_go_through_the_mask(tmp_path: Path) -> None:
    """Check that a small structure in a corner is seen, not only what lies in the middle."""
    mask = np.zeros(IMAGE.shape, dtype=np.uint8)
    mask[1:3, 20:23, 1:3] = 1
    assert near(draw(tmp_path / "a.png", Preview("corner", IMAGE, mask, np.eye(4))), AMBER) > 20


def test_the_reference_is_drawn_and_leads_the_planes_where_nothing_was_found(
    tmp_path: Path,
) -> None:
    label = np.zeros(IMAGE.shape, dtype=np.uint8)
    label[1:5, 18:23, 1:4] = 1
    without = draw(tmp_path / "a.png", Preview("a", IMAGE, block(0), np.eye(4)))
    missed = draw(tmp_path / "b.png", Preview("b", IMAGE, block(0), np.eye(4), label))
    assert near(without, AMBER) == 0
    assert near(missed, AMBER) > 20


def test_one_row_per_scan(tmp_path: Path) -> None:
    scan = Preview("a", IMAGE, block(), np.eye(4))
    heights = [draw(tmp_path / f"{n}.png", *[scan] * n).shape[0] for n in (1, 3)]
    assert heights[1] - heights[0] == 2 * ROW


def test_voxels_keep_their_proportions(tmp_path: Path) -> None:
    """Check that planes of a scan with thick slices are stretched: the picture shows mm."""
    mask = np.zeros((20, 20, 5), dtype=np.uint8)
    mask[2:18, 2:18, 1:4] = 1

    def extent(spacing: tuple[float, ...]) -> float:
        """Return height by width of the sagittal plane's segment."""
        scan = Preview("a", np.zeros(mask.shape), mask, np.diag([*spacing, 1.0]))
        picture = draw(tmp_path / "a.png", scan)[:ROW, 2 * CELL :]
        rows, columns = np.nonzero(np.abs(picture - AMBER).sum(axis=-1) < 60)
        return float(np.ptp(rows) / np.ptp(columns))

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
    assert draw(tmp_path / "a.png", Preview("a", image, mask, np.eye(4))).std() > 0


@pytest.mark.parametrize(
    "title",
    [
        "$\\frac{$ and $x^$",
        "a_b^c {d} \\alpha",
        "",
        "Überfall/患者\n1.00 mL",
        "%s %d",
        "caf\udce9/scan",
    ],
)
def test_names_are_text_and_not_formulas(tmp_path: Path, title: str) -> None:
    draw(
        tmp_path / "a.png",
        Preview(title, IMAGE, block(), np.eye(4)),
        names={1: title, 2: "$\\x$"},
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_no_names(tmp_path: Path) -> None:
    assert draw(tmp_path / "a.png", Preview("a", IMAGE, block(), np.eye(4)), names={}).std() > 0


def phantom() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return a body in RAS, alike in no direction: class 1 right, front, low.

    Class 2 left, back, high.
    """
    image = RNG.integers(0, 1000, (20, 26, 14), dtype=np.int16)
    label = np.zeros(image.shape, dtype=np.uint8)
    label[12:19, 15:24, 2:7] = 1
    label[2:5, 3:8, 6:11] = 2
    return image + 3000 * (label > 0).astype(np.int16), label


def affine(angles: tuple[float, float, float]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * (1.5, 1, 2.5)
    matrix[:3, 3] = (-31.3, 8.6, 101.2)
    return matrix


@pytest.mark.parametrize("angles", [(0, 0, 0), (14, -9, 21)], ids=["straight", "oblique"])
def test_all_48_orders_and_flips_give_one_picture(
    tmp_path: Path, angles: tuple[float, float, float], kit: SimpleNamespace
) -> None:
    image, label = phantom()
    wrong = np.roll(label, 1, axis=2)
    pictures = []
    for turn in kit.orientations():
        stored = [
            nib.Nifti1Image(array, affine(angles)).as_reoriented(turn)
            for array in (image, wrong, label)
        ]
        arrays = [np.asanyarray(one.dataobj) for one in stored]
        scan = Preview("a", arrays[0], arrays[1], stored[0].affine, arrays[2])
        pictures.append(draw(tmp_path / "a.png", scan))
    assert len(pictures) == 48 and all(np.array_equal(one, pictures[0]) for one in pictures)


def centre_of(picture: NDArray[np.int64], colour: tuple[int, int, int]) -> tuple[float, float]:
    """Return height (up) and width (to the right) against the picture's middle."""
    rows, columns = np.nonzero(np.abs(picture - colour).sum(axis=-1) < 60)
    return len(picture) / 2 - float(rows.mean()), float(columns.mean()) - picture.shape[1] / 2


def test_radiological_convention(tmp_path: Path) -> None:
    """Draw right on the left, anterior and superior up; in the sagittal plane anterior left."""
    image, label = phantom()
    for value, sign in ((1, 1), (2, -1)):  # class 1 is right, front, low; class 2 the opposite
        mask = np.where(label == value, 1, 0).astype(np.uint8)
        picture = draw(tmp_path / "a.png", Preview("a", image, mask, affine((0, 0, 0))))
        planes = [picture[TITLE:ROW, n * CELL : (n + 1) * CELL] for n in range(3)]
        (axial_up, axial_right), (coronal_up, coronal_right), (sagittal_up, sagittal_right) = (
            centre_of(one, AMBER) for one in planes
        )
        assert sign * axial_up > 10 and sign * axial_right < -10
        assert sign * coronal_up < -10 and sign * coronal_right < -10
        assert sign * sagittal_up < -10 and sign * sagittal_right < -10


def test_letters_and_places_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that each plane has four letters at its edges.

    Its place in mm where the segment is cut.
    """
    words: dict[str, list[tuple[int, int]]] = {}
    write = preview.text

    def spy(sheet: Any, place: tuple[int, int], line: str, *more: Any, **options: Any) -> None:
        words.setdefault(line, []).append(place)
        write(sheet, place, line, *more, **options)

    monkeypatch.setattr(preview, "text", spy)
    image, label = phantom()
    mask = np.where(label == 2, 1, 0).astype(np.uint8)
    draw(tmp_path / "a.png", Preview("a", image, mask, affine((0, 0, 0))))
    # The segment begins at voxel 2, 3, 6: of planes that cut as much of it, the first is drawn.
    assert {"Axial  S 116.2 mm", "Coronal  A 11.6 mm", "Sagittal  L 28.3 mm"} <= set(words)
    middle = TITLE + CELL // 2
    left, right = ([x + n * CELL for n in range(3)] for x in (14, CELL - 14))
    assert words["R"] == [(left[0], middle), (left[1], middle)]
    assert words["L"] == [(right[0], middle), (right[1], middle)]
    assert words["A"][0][1] < middle < words["P"][0][1], "axial: anterior is up"
    assert (words["A"][1], words["P"][1]) == ((left[2], middle), (right[2], middle))
    assert [y < middle for _, y in words["S"]] == [True, True]
    assert [y > middle for _, y in words["I"]] == [True, True]
    draw(tmp_path / "a.png", Preview("a", image, mask, affine((14, 0, 0))))
    assert any(line.startswith("Axial") and line.endswith("oblique 14°") for line in words)


def test_the_legend_is_read_at_thumbnail_size(tmp_path: Path) -> None:
    """Check that at 200 pixels of width, capitals are 6 pixels high.

    Swatches have their colours.
    """
    image, label = phantom()
    file = draw_previews([Preview("a", image, label, np.eye(4))], tmp_path / "a.png", NAMES)
    whole = Image.open(file).convert("RGB")
    small = whole.resize((200, whole.height * 200 // whole.width), Image.Resampling.LANCZOS)
    legend = np.asarray(small, dtype=np.int64)[int(ROW * 200 / 900) + 2 :]
    assert all((np.abs(legend - colour).sum(axis=-1) < 60).sum() > 25 for colour in (AMBER, CYAN))
    words = (legend.min(axis=-1) > 120).any(axis=1)
    assert words.sum() >= 6, "rows of pixels with letters"


def test_the_legend_names_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw, of a hundred classes, those that are seen, as many as there is room for."""
    listed: list[str] = []
    draw_all = preview.draw_legend

    def spy(sheet: Any, top: int, lines: Any) -> None:
        for line in lines:
            listed.extend(words for _, words, _ in line)
        draw_all(sheet, top, lines)

    monkeypatch.setattr(preview, "draw_legend", spy)
    image, label = phantom()
    names = {n: f"organ {n}" for n in range(1, 100)}
    draw(
        tmp_path / "a.png", Preview("a", image, np.where(label == 1, 40, 0), np.eye(4)), names=names
    )
    assert listed == ["organ 40"]
    listed.clear()
    many = (np.arange(26)[None, :, None] + 0 * label + 1).astype(np.uint8)
    draw(tmp_path / "a.png", Preview("a", image, many, np.eye(4)), names=names)
    assert listed[0] == "organ 1" and listed[-1] == f"and {26 - len(listed) + 1} more"


def test_values_of_labels_may_be_large(tmp_path: Path) -> None:
    """Check that colours go by place in the list of names.

    Classes 205 and 421 have the first two.
    """
    image, label = phantom()
    mask = np.choose(label, [0, 205, 421])
    picture = draw(
        tmp_path / "a.png", Preview("a", image, mask, np.eye(4)), names={205: "a", 421: "b"}
    )
    assert near(picture, AMBER) > 100 and near(picture, CYAN) > 20


def test_segments_are_filled_lightly(tmp_path: Path) -> None:
    """Check that within the outline the scan is seen through the colour."""
    mask = block()
    picture = draw(tmp_path / "a.png", Preview("a", np.full(mask.shape, 5.0), mask, np.eye(4)))
    plain = draw(tmp_path / "a.png", Preview("a", np.full(mask.shape, 5.0), block(0), np.eye(4)))
    picture, plain = picture[TITLE:ROW], plain[TITLE:ROW]
    changed = (picture != plain).any(axis=-1) & (np.abs(picture - AMBER).sum(axis=-1) >= 60)
    inner = picture[changed]
    assert len(inner) > 500
    assert (inner[:, 0] > inner[:, 2]).all() and inner.max() < 120, "a third of the colour"


def test_windows() -> None:
    """Check that CT has the window of what is segmented.

    The brightest voxels of MR do not darken all else.
    """
    noise = RNG.normal(0, 10, (24, 24, 24))
    scan = (np.full(noise.shape, -1000) + noise).round()
    scan[4:20, 4:20] = 40
    scan[4:8, 4:8] = -850
    scan[16:20, 16:20] = 700
    masks = {value: (scan == value).astype(np.uint8) for value in (40, -850, 700)}
    found = {value: grey_window(scan.astype(np.int16), mask) for value, mask in masks.items()}
    assert found == {40: (-160, 240), -850: (-1350, 150), 700: (-500, 1500)}
    assert grey_window(scan.astype(np.int16), np.zeros_like(scan)) == (-160, 240)
    mr = np.abs(noise) + 100
    mr[0, 0, :5] = 100_000
    assert grey_window(mr, np.zeros_like(mr))[1] < 200
