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
from monai_semiseg.images.scan import read_scan

VOXELS = np.random.default_rng(0).integers(0, 1000, (5, 6, 7)).astype(np.int16)


COLOUR = sitk.GetImageFromArray(np.stack([VOXELS] * 3, -1), isVector=True)


def write(path: Path, compress: bool, array: np.ndarray = VOXELS) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array), path, useCompression=compress)
    return path


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
def test_read(tmp_path: Path, name: str, compress: bool) -> None:
    assert np.array_equal(read_scan(write(tmp_path / name, compress)).array, VOXELS.T)


@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd"])
def test_names_that_are_no_text(tmp_path: Path, ending: str) -> None:
    """ITK takes no such name."""
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
    """ITK's Python package has no images of signed 8 and 64 bits; SimpleITK reads these."""
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


COMPLEX = sitk.GetImageFromArray(VOXELS.astype(np.complex64))
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "detached data are gone": (
        lambda folder: (write(folder / "a.mhd", False), (folder / "a.raw").unlink()),
        "E_TRUNC",
    ),
    "2-D": (lambda folder: write(folder / "a.mhd", False, VOXELS[0]), "E_NDIM"),
    "colour": (
        lambda folder: sitk.WriteImage(COLOUR, folder / "a.mhd"),
        "E_DTYPE",
    ),
    "complex numbers": (lambda folder: sitk.WriteImage(COMPLEX, folder / "a.mhd"), "E_DTYPE"),
    "a list of files": (
        lambda folder: (folder / "a.mhd").write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 4 4 2\nElementType = MET_SHORT\n"
            "ElementDataFile = LIST\na.raw\nb.raw\n"
        ),
        "E_UNSUPPORTED",
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
