"""NRRD and MetaImage, which ITK reads even when half of the voxels are missing."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_grid, read_scan

VOXELS = np.random.default_rng(0).integers(0, 1000, (5, 6, 7)).astype(np.int16)


def write(path: Path, compress: bool, array: np.ndarray = VOXELS) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array), path, useCompression=compress)
    return path


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
def test_read(tmp_path: Path, name: str, compress: bool) -> None:
    assert np.array_equal(read_scan(write(tmp_path / name, compress)).array, VOXELS.T)


@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd"])
def test_names_that_are_no_text(tmp_path: Path, ending: str) -> None:
    """Read files whose names ITK does not accept."""
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    path = write(tmp_path / f"a.{ending}", compress=False)
    for file in tmp_path.glob("a.*"):
        file.rename(odd / file.name)
    path = (odd / path.name).rename(odd / os.fsdecode(b"a\xe9." + ending.encode()))
    assert np.array_equal(read_scan(path).array, VOXELS.T)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"a\\xe9"):
        read_scan(path)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
def test_cut(tmp_path: Path, name: str, compress: bool, keep: float) -> None:
    path = write(tmp_path / name, compress)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError, match="E_TRUNCATED"):
        read_scan(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_flipped_byte(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, compress=True)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="E_CHECKSUM"):
        read_scan(path)


@pytest.mark.parametrize(
    "kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_every_type_to_its_last_byte(tmp_path: Path, name: str, compress: bool, kind: str) -> None:
    voxels = (VOXELS % 100).astype(kind)
    path = write(tmp_path / name, compress, voxels)
    assert np.array_equal(read_scan(path).array, voxels.T)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="E_TRUNCATED"):
        read_scan(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_every_type_lies_where_the_others_do(tmp_path: Path, name: str) -> None:
    """Read all types, also those that ITK's Python package lacks (signed 8 and 64 bits)."""
    grids = []
    for kind in ("int16", "int8", "int64"):
        image = sitk.GetImageFromArray((VOXELS % 100).astype(kind))
        image.SetOrigin((11.5, -7.25, 3.0))
        image.SetSpacing((0.7, 0.8, 2.5))
        image.SetDirection((0.6, 0.8, 0, -0.8, 0.6, 0, 0, 0, 1))
        sitk.WriteImage(image, tmp_path / name)
        grids.append(read_scan(tmp_path / name).affine)
    for grid in grids[1:]:
        np.testing.assert_allclose(grid, grids[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("compress", [False, True])
def test_a_mebibyte_more_than_the_header_says_and_no_more(
    tmp_path: Path, compress: bool, beyond: int
) -> None:
    voxels = VOXELS.astype("<i2").tobytes() + bytes((1 << 20) + beyond)
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 7 6 5\nendian: little\n"
        f"encoding: {'gzip' if compress else 'raw'}\n\n"
    )
    content = gzip.compress(voxels) if compress else voxels
    (tmp_path / "a.nrrd").write_bytes(header.encode() + content)
    with pytest.raises(InputError, match="E_SIZE") if beyond else nullcontext():
        assert np.array_equal(read_scan(tmp_path / "a.nrrd").array, VOXELS.T)


def test_voxels_that_itk_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no reader")

    monkeypatch.setattr("monai.data.ITKReader.read", fail)
    with pytest.raises(InputError, match="E_FORMAT"):
        read_scan(write(tmp_path / "a.nrrd", compress=False))


FLAT = sitk.GetImageFromArray(VOXELS)
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "detached data are gone": (
        lambda folder: (write(folder / "a.mhd", False), (folder / "a.raw").unlink()),
        "E_TRUNC",
    ),
    "4-D": (
        lambda folder: sitk.WriteImage(sitk.JoinSeries([FLAT, FLAT]), folder / "a.mhd"),
        "E_NDIM",
    ),
    "a list of files": (
        lambda folder: (folder / "a.mhd").write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 4 4 2\nElementType = MET_SHORT\n"
            "ElementDataFile = LIST\na.raw\nb.raw\n"
        ),
        "E_UNSUPPORTED",
    ),
    "a data file whose name cannot be": (
        lambda folder: (folder / "a.mhd").write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 4 4 2\nElementType = MET_SHORT\n"
            "ElementDataFile = a\0b.raw\n"
        ),
        "E_UNSUPPORTED|E_FORMAT",
    ),
    "header only": (
        lambda folder: (folder / "a.mhd").write_text("NDims = 3\nDimSize = 4 4\n"),
        "E_FORMAT",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    build, code = FAULTS[fault]
    build(tmp_path)
    with pytest.raises(InputError, match=code):
        read_scan(tmp_path / "a.mhd")


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    """Refuse them: MetaImage files do not tell them from vectors of two."""
    image = sitk.GetImageFromArray(VOXELS.astype(np.complex64))
    sitk.WriteImage(image, tmp_path / "a.nrrd")
    with pytest.raises(InputError, match="E_DTYPE"):
        read_scan(tmp_path / "a.nrrd")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize(("count", "kind"), [(3, "uint8"), (2, "float32"), (4, "int16"), (3, "f4")])
@pytest.mark.parametrize("flat", [False, True])
def test_parts_of_vectors_are_channels(
    tmp_path: Path, name: str, compress: bool, count: int, kind: str, flat: bool
) -> None:
    voxels = np.random.default_rng(0).integers(0, 100, (*((6, 7) if flat else (5, 6, 7)), count))
    image = sitk.GetImageFromArray(voxels.astype(kind), isVector=True)
    sitk.WriteImage(image, tmp_path / name, useCompression=compress)
    volume = read_scan(tmp_path / name)
    expected = voxels[np.newaxis] if flat else voxels
    assert np.array_equal(volume.array, np.transpose(expected, (2, 1, 0, 3)))
    colours = ("red", "green", "blue") if kind == "uint8" else tuple("0123"[:count])
    assert volume.channels == colours and volume.spatial_dims == (2 if flat else 3)
    for file in tmp_path.iterdir():
        if file.suffix not in (".nhdr", ".mhd"):
            file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="E_TRUNCATED"):
        read_scan(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_2d_image_lies_where_itk_puts_it(tmp_path: Path, name: str) -> None:
    image = sitk.GetImageFromArray(VOXELS[0])
    image.SetSpacing((0.7, 0.9))
    image.SetOrigin((11.0, -4.0))
    image.SetDirection((0.6, -0.8, 0.8, 0.6))
    sitk.WriteImage(image, tmp_path / name)
    volume = read_scan(tmp_path / name)
    assert np.array_equal(volume.array[..., 0], VOXELS[0].T)
    for index in ((0, 0), (5, 2), (1, 4)):
        lps = [*image.TransformIndexToPhysicalPoint(index), 0.0]
        ras = volume.affine @ [*index, 0, 1]
        np.testing.assert_allclose(ras[:3] * (-1, -1, 1), lps, atol=1e-6)
    grid = read_grid(tmp_path / name)
    assert grid.shape == (7, 6, 1)
    np.testing.assert_allclose(grid.affine, volume.affine, atol=1e-12)


def test_a_fourth_axis_is_channels_only_where_they_are_declared(tmp_path: Path) -> None:
    pair = [sitk.GetImageFromArray(VOXELS + n) for n in range(2)]
    sitk.WriteImage(sitk.JoinSeries(pair), tmp_path / "a.nrrd")
    volume = read_scan(tmp_path / "a.nrrd", channels=["T1", "T2"])
    assert np.array_equal(volume.array, np.stack([VOXELS.T, VOXELS.T + 1], axis=-1))
    for declared in ([], ["T1"], ["T1", "T2", "T3"]):
        with pytest.raises(InputError, match=r"E_NDIM .*4-D, 2 volumes(.|\n)*channel_names"):
            read_scan(tmp_path / "a.nrrd", channels=declared)
