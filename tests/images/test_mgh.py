"""FreeSurfer volumes, plain and compressed: read as nibabel reads them, or refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_grid, read_scan

AFFINE = np.array([[-1.0, 0, 0, 60], [0, 0, 2.0, -30], [0, -1.5, 0, 40], [0, 0, 0, 1]])


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32"])
def test_every_type(make: SimpleNamespace, tmp_path: Path, name: str, kind: str) -> None:
    values = np.random.default_rng(0).integers(0, 200, (7, 6, 5)).astype(kind)
    nib.save(nib.MGHImage(values, AFFINE), tmp_path / name)
    volume = read_scan(tmp_path / name)
    assert np.array_equal(volume.array, values) and volume.array.dtype == kind
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    grid = read_grid(tmp_path / name)
    assert grid.shape == (7, 6, 5) and np.array_equal(grid.affine, volume.affine)


def test_it_lies_where_it_says(make: SimpleNamespace, tmp_path: Path) -> None:
    values = make.at(make.coordinates((7, 6, 5), AFFINE)).astype(np.float32)
    nib.save(nib.MGHImage(values, AFFINE), tmp_path / "a.mgz")
    make.assert_true(read_scan(tmp_path / "a.mgz"))


def test_frames_are_channels_only_where_they_are_declared(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((7, 6, 5, 2), np.float32)
    nib.save(nib.MGHImage(values, AFFINE), tmp_path / "a.mgz")
    volume = read_scan(tmp_path / "a.mgz", channels=["T1", "T2"])
    assert np.array_equal(volume.array, values) and volume.channels == ("T1", "T2")
    with pytest.raises(InputError, match=r"E_NDIM .*2 volumes"):
        read_scan(tmp_path / "a.mgz")


FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda c: gzip.compress(c[:300]), "E_TRUNCATED"),
    "stream cut": (lambda c: gzip.compress(c)[:-30], "E_TRUNCATED"),
    "header cut": (lambda c: gzip.compress(c[:100]), "E_TRUNCATED"),
    "HTML": (lambda c: b"<html>404</html>", "E_FORMAT"),
    "text": (lambda c: gzip.compress(b"no voxels"), "E_FORMAT"),
    "empty": (lambda c: b"", "E_FORMAT"),
    "32000 cubed": (
        lambda c: gzip.compress(c[:4] + np.full(3, 32000, ">i4").tobytes() + c[16:]),
        "E_SIZE",
    ),
    "no voxels": (lambda c: gzip.compress(c[:4] + bytes(12) + c[16:]), "E_FORMAT"),
    "unknown type": (lambda c: gzip.compress(c[:20] + b"\0\0\0\x09" + c[24:]), "E_DTYPE"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    damage, code = FAULTS[fault]
    nib.save(nib.MGHImage(np.ones((7, 6, 5), np.float32), AFFINE), tmp_path / "a.mgh")
    path = tmp_path / "a.mgz"
    path.write_bytes(damage((tmp_path / "a.mgh").read_bytes()))
    with pytest.raises(InputError) as caught:
        read_scan(path)
    assert caught.value.code == code and str(path) in str(caught.value)
