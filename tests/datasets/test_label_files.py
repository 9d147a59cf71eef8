"""Label files on disk, read by the rule of their dataset; right values by numpy and pillow."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest.mock import Mock

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from PIL import Image, ImageFilter

from monai_semiseg.datasets.label_files import LabelReader, read_label
from monai_semiseg.datasets.label_rules import PLAIN, LabelRule
from monai_semiseg.errors import GeometryError, LabelError
from monai_semiseg.images import picture

READER = "monai_semiseg.datasets.label_files.LabelReader"

COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)
RULE = LabelRule(colours={"gland": "#ff0000", "lumen": "#00ff00", "fat": "#0a141e"})
SIZES = st.tuples(st.integers(2, 7), st.integers(2, 7))


def numbers(rows: int = 6, columns: int = 5, most: int = 3) -> np.ndarray:
    """Return a map (rows, columns) that shows every number up to the largest."""
    return (np.arange(rows * columns).reshape(rows, columns) % (most + 1)).astype(np.uint8)


def save(path: Path, array: np.ndarray, **settings: object) -> Path:
    """Write a picture, or a NIfTI file."""
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.name.endswith(".nii"):
        nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    else:
        Image.fromarray(array).save(path, **settings)
    return path


def save_palette(path: Path, indices: np.ndarray, colours: np.ndarray) -> Path:
    image = Image.fromarray(indices)
    image.putpalette(colours.astype(np.uint8).tobytes())
    image.save(path)
    return path


def plane(path: Path | list[Path], rule: LabelRule = PLAIN) -> np.ndarray:
    """Return a picture's numbers as (rows, columns)."""
    return read_label(path, rule).array[..., 0].T


def blurred(size: int = 24) -> Image.Image:
    """Return a white square with grey borders."""
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : size // 2, size // 4 : size // 2] = 255
    return Image.fromarray(mask).filter(ImageFilter.GaussianBlur(1.5))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_consecutive_integers_are_as_they_are(tmp_path: Path, name: str) -> None:
    assert np.array_equal(plane(save(tmp_path / name, numbers())), numbers())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_whole_numbers_of_any_type(tmp_path: Path, dtype: type) -> None:
    """Check floats that hold integers, gaps and negative numbers."""
    values = numbers().astype(np.int16)[..., None] * 3 - (dtype is not np.uint8)
    found = read_label(save(tmp_path / "a.nii", values.astype(dtype))).array
    assert found.dtype.kind in "iu" and np.array_equal(found, values)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_grey_levels_become_binary_with_a_threshold(tmp_path: Path, name: str) -> None:
    blurred().save(tmp_path / name)
    right = np.asarray(Image.open(tmp_path / name)) > 127
    assert np.array_equal(plane(tmp_path / name, LabelRule(threshold=127)), right)
    rule = LabelRule(threshold=127, numbers={"": 255})
    assert np.array_equal(plane(tmp_path / name, rule), right * 255)


def test_a_jpeg_with_grey_levels_is_refused(tmp_path: Path) -> None:
    blurred().save(tmp_path / "a.jpg")
    values, counts = np.unique(np.asarray(Image.open(tmp_path / "a.jpg")), return_counts=True)
    with pytest.raises(LabelError, match="--label_threshold 127:") as caught:
        read_label(tmp_path / "a.jpg")
    most = counts.argmax()
    assert f"{len(values)} values: {values[most]} ({counts[most]} voxels)" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 4


def test_a_jpeg_that_is_exact_is_read(tmp_path: Path) -> None:
    """Check that blocks of 8 x 8 pixels of one value keep it."""
    mask = np.kron(np.eye(3), np.ones((16, 16))).astype(np.uint8) * 255
    save(tmp_path / "a.jpg", mask, quality=100)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.jpg")), mask), "as pillow reads it"
    assert np.array_equal(plane(tmp_path / "a.jpg"), mask)


@given(SIZES, st.floats(-1, 256))
def test_any_threshold(size: tuple[int, int], threshold: float) -> None:
    values = np.random.default_rng(size[0]).integers(0, 256, (*size, 1)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder, "a.nii"), values)
        assert np.array_equal(read_label(path, LabelRule(threshold)).array, values > threshold)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "palette", "nifti"])
def test_declared_colours(tmp_path: Path, kind: str) -> None:
    """Check that each has its number, however the file holds it.

    The order of a palette does not matter.
    """
    right = numbers()
    if kind == "palette":
        order = np.array([2, 0, 3, 1], np.uint8)  # index of every number
        path = save_palette(tmp_path / "a.png", order[right], COLOURS[np.argsort(order)])
    elif kind == "nifti":
        rgb = np.zeros((*right.shape, 1), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
        for channel, name in enumerate("RGB"):
            rgb[name][..., 0] = COLOURS[right][..., channel]
        path = save(tmp_path / "a.nii", rgb)
        assert np.array_equal(read_label(path, RULE).array[..., 0], right)
        return
    else:
        opaque = np.full((*right.shape, 1), 255, np.uint8)
        array = np.concatenate([COLOURS[right], opaque], -1)[..., : len(kind)]
        path = save(tmp_path / "a.png", np.ascontiguousarray(array))
    assert np.array_equal(plane(path, RULE), right)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_a_colour_picture_is_decoded_once(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave its pixels unread: the header says that there is no palette."""
    decoders = [Mock(wraps=picture.read_with_pillow), Mock(wraps=picture.read_tiff)]
    monkeypatch.setattr(picture, "read_with_pillow", decoders[0])
    monkeypatch.setattr(picture, "read_tiff", decoders[1])
    grey = np.repeat(numbers(most=1)[..., None], 3, -1)
    assert np.array_equal(plane(save(tmp_path / name, grey)), grey[..., 0])
    assert sum(decoder.call_count for decoder in decoders) == 1


def test_a_declared_background_need_not_be_black(tmp_path: Path) -> None:
    rule = LabelRule(colours={"gland": "#ff0000", "background": "#ffffff"})
    array = np.where(numbers(most=1)[..., None], [255, 0, 0], [255, 255, 255]).astype(np.uint8)
    assert np.array_equal(plane(save(tmp_path / "a.png", array), rule), numbers(most=1))
    array[4, 2] = 0
    with pytest.raises(LabelError, match=r"#000000 \(1 voxels, the first at column 2, row 4\)"):
        plane(save(tmp_path / "a.png", array), rule)


def test_undeclared_colours_are_named_with_count_and_place(tmp_path: Path) -> None:
    array = COLOURS[numbers()]
    array[1, 3] = array[5, 0] = array[5, 1] = [1, 2, 3]
    with pytest.raises(LabelError) as caught:
        read_label(save(tmp_path / "a.png", array), RULE)
    text = str(caught.value)
    assert "undeclared colours #010203 (3 voxels, the first at column 3, row 1)" in text
    assert "declared are #000000, #00ff00" in text and len(text.splitlines()) <= 4


def test_a_photograph_is_no_label(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    with pytest.raises(LabelError, match=r"undeclared colours .* more"):
        read_label(save(tmp_path / "a.png", array))


@pytest.mark.parametrize("most", [1, 3])
def test_rgb_of_equal_channels_is_grey(tmp_path: Path, most: int) -> None:
    grey = numbers(most=most)
    path = save(tmp_path / "a.png", np.repeat(grey[..., None], 3, -1))
    assert np.array_equal(plane(path), grey)


def test_indices_of_one_palette_are_numbers(tmp_path: Path) -> None:
    path = save_palette(tmp_path / "a.png", numbers(), COLOURS)
    assert np.array_equal(plane(path), numbers())
    shared = {0: "#000000", 1: "#ff0000", 2: "#00ff00", 3: "#0a141e"}
    assert read_label(path).meta["palette"] == shared
    assert np.array_equal(plane(path, LabelRule(palette=shared)), numbers())


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        ({1: "#00ff00"}, "index 1 is #ff0000 here and #00ff00 in other files"),
        ({7: "#ff0000"}, "#ff0000 is index 1 here and index 7 in other files"),
    ],
)
def test_another_palette_is_refused(tmp_path: Path, shared: dict[int, str], words: str) -> None:
    path = save_palette(tmp_path / "a.png", numbers(), COLOURS)
    with pytest.raises(LabelError, match=words):
        read_label(path, LabelRule(palette=shared))
    with pytest.raises(LabelError, match="leave --label_threshold out"):
        read_label(path, LabelRule(threshold=127))


def test_a_palette_of_grey_is_grey(tmp_path: Path) -> None:
    """Check that its indices may be in any order: white may come first."""
    path = save_palette(
        tmp_path / "a.png", 1 - numbers(most=1), np.array([[255] * 3, [0] * 3], np.uint8)
    )
    assert np.array_equal(plane(path), numbers(most=1) * 255)


def test_several_binary_files(tmp_path: Path) -> None:
    """Check that files of one label are joined; another label keeps its number."""
    parts = numbers(most=4)
    files = [
        save(tmp_path / f"c_{name}.png", (parts == value).astype(np.uint8) * white)
        for value, (name, white) in enumerate(
            [("lesion1", 255), ("lesion2", 1), ("organ", 255)], start=1
        )
    ]
    rule = LabelRule(merge=True, numbers={"lesion": 1, "organ": 5})
    right = np.select([(parts == 1) | (parts == 2), parts == 3], [1, 5])
    assert np.array_equal(plane(files, rule), right)
    assert np.array_equal(plane(files[::-1], rule), right), "in any order"
    assert np.array_equal(plane(files[2:], rule), (parts == 3) * 5), "one file alone"
    with pytest.raises(LabelError, match="one of 3 label files of a case"):
        read_label(files)


def test_overlap_of_different_labels_is_refused(tmp_path: Path) -> None:
    mask = np.zeros((6, 5), np.uint8)
    mask[2:4, 1:4] = 255
    files = [save(tmp_path / name, mask) for name in ("c_a1.png", "c_a2.png")]
    rule = LabelRule(merge=True, numbers={"a": 1, "b": 2})
    assert np.array_equal(plane(files, rule), mask > 0), "of one label it is no fault"
    mask[2, 1] = 0
    files.append(save(tmp_path / "c_b.png", mask))
    with pytest.raises(LabelError, match=r"5 voxels .* the first at column 2, row 2") as caught:
        read_label(files, rule)
    assert caught.value.path == files[-1]


@pytest.mark.parametrize(
    ("array", "kind", "words"),
    [
        (numbers(), LabelError, "4 values: .*leave --merge_masks out"),
        (np.asarray(blurred()), LabelError, "these look like grey levels"),
        (np.zeros((3, 3), np.uint8), GeometryError, ""),
    ],
    ids=["several labels", "grey", "size"],
)
def test_files_that_cannot_be_joined(
    tmp_path: Path, array: np.ndarray, kind: type[Exception], words: str
) -> None:
    files = [save(tmp_path / "c_1.png", numbers(most=1)), save(tmp_path / "c_2.png", array)]
    with pytest.raises(kind, match=f"(?s){words}"):
        read_label(files, LabelRule(merge=True))


def test_joined_files_with_a_threshold(tmp_path: Path) -> None:
    blurred().save(tmp_path / "c_1.png")
    blurred().transpose(Image.Transpose.ROTATE_180).save(tmp_path / "c_2.png")
    files = [tmp_path / "c_1.png", tmp_path / "c_2.png"]
    right = np.logical_or(*(np.asarray(Image.open(file)) > 100 for file in files))
    assert np.array_equal(plane(files, LabelRule(threshold=100, merge=True)), right)


def test_a_file_named_after_no_label(tmp_path: Path) -> None:
    file = save(tmp_path / "c_other.png", numbers(most=1))
    with pytest.raises(LabelError, match="ends with none of the labels a, b"):
        read_label(file, LabelRule(merge=True, numbers={"a": 1, "b": 2}))


def test_a_label_of_several_channels_is_refused(tmp_path: Path) -> None:
    """Refuse, for example, four channels of an MR scan."""
    array = np.random.default_rng(0).integers(0, 9, (4, 5, 6, 4)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "a.mha"))
    with pytest.raises(LabelError, match=r"a.mha: 4 channels"):
        read_label(tmp_path / "a.mha")


def test_training_reads_by_the_rule_of_the_datalist(tmp_path: Path) -> None:
    """Load as ``LoadImaged`` of the bundles' configs: one file, or several of a case."""
    parts = numbers(most=3)[..., None]
    files = [
        save(tmp_path / f"c_{name}.nii", ((parts == value) * 255).astype(np.uint8))
        for value, name in enumerate(["b", "a1", "a2"])
    ]
    rule = LabelRule(merge=True, numbers={"a": 3, "b": 1})
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({"training": [], "label_rule": rule.record()}))
    load = Compose(
        [
            LoadImaged("label", reader=READER, datalist=str(datalist)),
            EnsureChannelFirstd("label"),
        ]
    )
    label = load({"label": [str(file) for file in files]})["label"]
    right = np.select([parts == 0, (parts == 1) | (parts == 2)], [1, 3])
    assert label.shape == (1, 6, 5, 1) and np.array_equal(label[0].numpy(), right)
    assert Path(label.meta["filename_or_obj"]) == files[0]
    single = load({"label": str(files[1])})["label"]
    assert np.array_equal(single[0].numpy(), (parts == 1) * 3)
    assert LabelReader().rule == PLAIN
