"""Images that nnU-Net has preprocessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.transforms import LoadImage

from monai_semiseg.errors import ChannelError, FormatError, InputError, NonFiniteError, root_cause
from monai_semiseg.images.nnunet_preprocessed import (
    PreprocessedReader,
    preprocessed_files,
    read_preprocessed,
)

blosc2 = pytest.importorskip("blosc2")


@pytest.fixture(scope="module")
def voxels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, voxels: np.ndarray) -> Path:
    """Return a folder as nnU-Net's own class writes it."""
    data = pytest.importorskip("nnunetv2.training.dataloading.nnunet_dataset")
    label = np.zeros((1, 5, 6, 7), np.int8)
    for kind, sizes in (
        (data.nnUNetDatasetBlosc2, {"chunks": (2, 5, 6, 7)}),
        (data.nnUNetDatasetNumpy, {}),
    ):
        sizes |= {"blocks": (1, 5, 6, 7), "chunks_seg": (1, 5, 6, 7)} if sizes else {}
        kind.save_case(voxels, label, {}, str(tmp_path / kind.__name__), **sizes)
    return tmp_path


def test_both_formats_are_read(folder: Path, voxels: np.ndarray) -> None:
    files = preprocessed_files(folder)
    assert [file.suffix for file in files] == [".b2nd", ".npz"]
    for file in files:
        np.testing.assert_array_equal(read_preprocessed(file), voxels)
        loaded = LoadImage(reader=PreprocessedReader(("a", "b")), ensure_channel_first=True)(file)
        np.testing.assert_array_equal(loaded.numpy(), voxels)
    assert preprocessed_files(folder / "absent") == []


def test_other_channels_are_refused(folder: Path) -> None:
    with pytest.raises(Exception) as caught:
        LoadImage(reader=PreprocessedReader(("a",)))(preprocessed_files(folder)[0])
    assert isinstance(root_cause(caught.value), ChannelError)


@pytest.mark.parametrize("number", [0, 1], ids=["b2nd", "npz"])
def test_a_damaged_file_is_refused(folder: Path, number: int) -> None:
    file = preprocessed_files(folder)[number]
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match=file.name):
        read_preprocessed(file)


def test_other_content_is_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    np.savez(tmp_path / "flat.npz", data=voxels[0])
    with pytest.raises(FormatError, match=r"an array of shape \(5, 6, 7\)"):
        read_preprocessed(tmp_path / "flat.npz")
    np.savez(tmp_path / "other.npz", image=voxels)
    with pytest.raises(FormatError, match="KeyError"):
        read_preprocessed(tmp_path / "other.npz")
    np.savez(tmp_path / "nan.npz", data=voxels * np.nan)
    with pytest.raises(NonFiniteError):
        read_preprocessed(tmp_path / "nan.npz")


class _Code:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path(__file__).with_name("trap"),)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "code.npz", data=np.array([_Code()], dtype=object))
    with pytest.raises(FormatError, match="pickle"):
        read_preprocessed(tmp_path / "code.npz")
    assert not Path(__file__).with_name("trap").exists()


def test_a_recipe_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    one = blosc2.asarray(np.ones((1, 2, 2, 2)), urlpath=str(tmp_path / "one.b2nd"))
    recipe = blosc2.lazyexpr("a + 1", operands={"a": one})
    recipe.save(urlpath=str(tmp_path / "recipe.b2nd"))
    with pytest.raises(FormatError, match="Unsafe"):
        read_preprocessed(tmp_path / "recipe.b2nd")
