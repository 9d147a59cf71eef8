"""NRRD and MetaImage, which ITK reads even when half of the voxels are missing."""

from __future__ import annotations

import os
from collections.abc import Callable
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
