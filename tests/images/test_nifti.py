"""NIfTI: read right whatever its axes, type or byte order, or refused with the fault's own code."""

from __future__ import annotations

import gzip
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.errors import InputError, NotNiftiError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import ScanWarning, collect_warnings

AXES = list(
    itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3))
)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Let a test fail if there is a warning that it does not expect."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScanWarning)
        yield


@pytest.mark.parametrize(("order", "signs"), AXES)
@pytest.mark.parametrize("oblique", [False, True])
def test_all_48_axis_orders(
    make: SimpleNamespace,
    tmp_path: Path,
    order: tuple[int, ...],
    signs: tuple[int, ...],
    oblique: bool,
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * signs * np.array([0.8, 1.5, 2.5])
    if oblique:
        turn = nib.eulerangles.euler2mat(0.2, -0.3, 0.1)
        affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = [12, -30, 7]
    volume = read_scan(make.nifti(tmp_path / "a.nii.gz", affine))
    assert volume.array.shape == (7, 6, 5)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    make.assert_true(volume)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "<i2", ">i2", "<u2", ">i4", "uint32", "int64", "uint64", ">f4", "f8"]
)
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_types_and_byte_orders(tmp_path: Path, dtype: str, version: Any) -> None:
    values = (np.arange(60).reshape(3, 4, 5) * 2).astype(dtype)
    header = version.header_class(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(dtype)
    image = version(values, np.eye(4), header)
    image.header.set_sform(np.eye(4), code=1)
    image.header.set_qform(np.eye(4), code=1)
    path = tmp_path / "a.nii"
    path.write_bytes(image.to_bytes())
    volume = read_scan(path)
    assert np.array_equal(volume.array, values.astype(np.float64))
    assert volume.array.dtype.isnative


@pytest.mark.parametrize(
    ("slope", "inter", "expected"), [(0, 5, 1), (float("nan"), 5, 1), (2.0, 3.0, 5), (1, 0, 1)]
)
def test_scaling(tmp_path: Path, slope: float, inter: float, expected: float) -> None:
    """Leave values as they are for a slope of 0 or NaN (NIfTI standard)."""
    image = nib.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.set_sform(np.eye(4), code=1)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([slope, inter], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    assert read_scan(tmp_path / "a.nii").array[0, 0, 1] == expected


def test_trailing_axes_of_one(tmp_path: Path) -> None:
    nib.save(
        nib.Nifti1Image(np.random.default_rng(0).random((3, 4, 5, 1, 1)), np.eye(4)),
        tmp_path / "a.nii",
    )
    assert read_scan(tmp_path / "a.nii").array.shape == (3, 4, 5)


def test_names_that_lie_about_compression(make: SimpleNamespace, tmp_path: Path) -> None:
    plain = make.nifti(tmp_path / "a.nii")
    packed = make.nifti(tmp_path / "b.nii.gz")
    plain.rename(tmp_path / "c.nii.gz")
    packed.rename(tmp_path / "d.nii")
    for name in ("c.nii.gz", "d.nii"):
        with pytest.warns(ScanWarning, match="W_NAME"):
            make.assert_true(read_scan(tmp_path / name))


def header_edit(offset: int, value: Any, dtype: str) -> Callable[[bytes], bytes]:
    data = np.asarray(value, dtype).tobytes()
    return lambda content: content[:offset] + data + content[offset + len(data) :]


def bomb(content: bytes) -> bytes:
    return gzip.compress(content + bytes(60_000_000))


def flip_a_byte(content: bytes) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[-6] ^= 1  # in the checksum: any other byte shows as a damaged stream
    return bytes(packed)


def blot_out(content: bytes) -> bytes:
    packed = gzip.compress(content)
    return packed[:40] + b"\xff" * 40 + packed[80:]


NO_CODES = header_edit(252, [0, 0], "<i2")
FAULTS: dict[
    str, tuple[str, Callable[[bytes], bytes], str]
] = {  # fault -> file name, damage to a plain .nii, code
    "gzip cut at 10 %": (
        "a.nii.gz",
        lambda c: gzip.compress(c)[: len(gzip.compress(c)) // 10],
        "E_TRUNCATED",
    ),
    "gzip cut at 50 %": (
        "a.nii.gz",
        lambda c: gzip.compress(c)[: len(gzip.compress(c)) // 2],
        "E_TRUNCATED",
    ),
    "gzip cut at 99 %": ("a.nii.gz", lambda c: gzip.compress(c)[:-4], "E_TRUNCATED"),
    "cut in half": ("a.nii", lambda c: c[: len(c) // 2], "E_TRUNCATED"),
    "one byte missing": ("a.nii", lambda c: c[:-1], "E_TRUNCATED"),
    "one flipped byte": ("a.nii.gz", flip_a_byte, "E_CHECKSUM"),
    "damaged stream": (
        "a.nii.gz",
        lambda c: gzip.compress(c)[:40] + b"\xff" * 40 + gzip.compress(c)[80:],
        "E_CHECKSUM",
    ),
    "zero bytes": ("a.nii.gz", lambda c: b"", "E_NOT_NIFTI"),
    "text": ("a.nii.gz", lambda c: b"these are no voxels\n" * 50, "E_NOT_NIFTI"),
    "zipped text": (
        "a.nii.gz",
        lambda c: gzip.compress(b"these are no voxels\n" * 50),
        "E_NOT_NIFTI",
    ),
    "32000 cubed": ("a.nii", header_edit(40, [3, 32000, 32000, 32000], "<i2"), "E_SIZE"),
    "gzip bomb": ("a.nii.gz", bomb, "E_SIZE"),
    "1-D": ("a.nii", header_edit(40, [1, 210, 1, 1], "<i2"), "E_NDIM"),
    "4-D": ("a.nii", header_edit(40, [4, 7, 3, 2, 5], "<i2"), "E_NDIM"),
    "no axes": ("a.nii", header_edit(40, [3, 0, 6, 5], "<i2"), "E_NDIM"),
    "complex": ("a.nii", lambda c: header_edit(70, [32, 64], "<i2")(c) + bytes(len(c)), "E_DTYPE"),
    "unknown type": ("a.nii", header_edit(70, [77, 32], "<i2"), "E_DTYPE"),
    "singular affine": ("a.nii", header_edit(280, [1, 0, 0, 0, 2, 0, 0, 0], "<f4"), "E_GEOMETRY"),
    "NaN in the affine": ("a.nii", header_edit(280, [np.nan], "<f4"), "E_GEOMETRY"),
    "zero voxel size": (
        "a.nii",
        lambda c: header_edit(80, [0.0], "<f4")(NO_CODES(c)),
        "E_GEOMETRY",
    ),
    "zero voxel size under a qform": (
        "a.nii",
        lambda c: header_edit(80, [0.0], "<f4")(header_edit(252, [1, 0], "<i2")(c)),
        "E_GEOMETRY",
    ),
    "voxels beyond the file": ("a.nii", header_edit(108, [1e8], "<f4"), "E_TRUNCATED"),
    "NaN offset": ("a.nii", header_edit(108, [np.nan], "<f4"), "E_FORMAT"),
    "one NaN voxel": ("a.nii", header_edit(400, [np.nan], "<f4"), "E_NONFINITE"),
    "one Inf voxel": ("a.nii", header_edit(400, [np.inf], "<f4"), "E_NONFINITE"),
    "all NaN": ("a.nii", lambda c: header_edit(352, [np.nan] * 210, "<f4")(c), "E_NONFINITE"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(make: SimpleNamespace, tmp_path: Path, fault: str) -> None:
    name, damage, code = FAULTS[fault]
    sound = make.nifti(tmp_path / "sound.nii").read_bytes()
    path = tmp_path / name
    path.write_bytes(damage(sound))
    with collect_warnings(), pytest.raises(InputError) as caught:
        read_scan(path)
    text = str(caught.value)
    assert caught.value.code == code
    assert str(path) in text and "expected" in text and len(text.splitlines()) <= 4


@pytest.mark.parametrize("share", [1, 10, 209])
def test_nonfinite_voxels_are_replaced_when_asked(
    make: SimpleNamespace, tmp_path: Path, share: int
) -> None:
    path = make.nifti(tmp_path / "a.nii")
    damage = header_edit(352, ([np.nan, np.inf] * share)[:share], "<f4")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(ScanWarning, match=f"W_NONFINITE.*{share} of 210"):
        array = read_scan(path, nonfinite=-7.0).array
    assert np.isfinite(array).all() and (array == -7).sum() == share


@pytest.mark.parametrize("value", [0, 5])
def test_constant(tmp_path: Path, value: int) -> None:
    nib.save(nib.Nifti1Image(np.full((3, 3, 3), value, np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.warns(ScanWarning, match="W_CONSTANT"):
        assert (read_scan(tmp_path / "a.nii").array == value).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a Git LFS pointer"),
        (b"\n<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"", "an empty file"),
        (b"text", "no NIfTI header"),
    ],
)
def test_what_a_failed_download_left_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(NotNiftiError, match=words):
        read_scan(tmp_path / "a.nii")


def test_shear_is_said_with_its_angle(make: SimpleNamespace, tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 2 * np.tan(np.radians(12))
    with pytest.warns(ScanWarning) as caught:
        volume = read_scan(make.nifti(tmp_path / "a.nii", affine))
    assert any("W_SHEAR" in str(w.message) and "12.0 degrees" in str(w.message) for w in caught)
    make.assert_true(volume)


def test_sform_wins_and_the_difference_is_said(make: SimpleNamespace, tmp_path: Path) -> None:
    path = make.nifti(tmp_path / "a.nii")
    image = nib.load(path)
    image.header["qoffset_x"] = 50
    path.write_bytes(image.to_bytes())
    with pytest.warns(ScanWarning, match="W_ORIENT.*sform is used"):
        make.assert_true(read_scan(path))


def test_qform_alone(make: SimpleNamespace, tmp_path: Path) -> None:
    path = make.nifti(tmp_path / "a.nii")
    image = nib.load(path)
    image.header["sform_code"] = 0
    path.write_bytes(image.to_bytes())
    volume = read_scan(path)
    np.testing.assert_allclose(volume.affine, image.header.get_qform(), atol=1e-6)


def test_no_codes(make: SimpleNamespace, tmp_path: Path) -> None:
    path = make.nifti(tmp_path / "a.nii")
    path.write_bytes(NO_CODES(path.read_bytes()))
    with pytest.warns(ScanWarning, match="W_ORIENT.*neither"):
        assert read_scan(path).spacing == pytest.approx((1.5, 2.0, 2.5))


@pytest.mark.parametrize(("qform", "sform"), [(1, 2), (3, 0), (0, 4)])
def test_both_codes_are_kept(tmp_path: Path, qform: int, sform: int) -> None:
    """Check that a mask gets the codes of its scan."""
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), None)
    image.set_qform(np.eye(4), code=qform)
    image.set_sform(np.eye(4) if sform else None, code=sform)
    nib.save(image, tmp_path / "a.nii")
    meta = read_scan(tmp_path / "a.nii").meta
    assert (meta["qform_code"], meta["sform_code"]) == (qform, sform)
