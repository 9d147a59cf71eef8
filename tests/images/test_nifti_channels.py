"""NIfTI beyond one 3-D channel: flat images, channels, colours, pairs of files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_grid, read_scan
from monai_semiseg.images.volume import collect_warnings

VOXELS = np.random.default_rng(0).integers(0, 250, (7, 6, 5, 3)).astype(np.uint8)
AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -3], [0, 0, 3.0, 7], [0, 0, 0, 1]])
RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
RGBA32 = np.dtype([*RGB24.descr, ("A", "u1")])


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, **fields: Any) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 1), (7, 6, 1, 1), (7, 1, 6), (1, 7, 6)])
def test_2d_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = VOXELS[:, :, 0, 0].reshape(shape)
    volume = read_scan(save(tmp_path / "a.nii.gz", array))
    assert volume.shape == (*shape, 1)[:3] and volume.spatial_dims == 2 and not volume.channels
    assert np.array_equal(volume.array.ravel(), array.ravel())
    np.testing.assert_allclose(volume.affine, AFFINE)
    grid = read_grid(tmp_path / "a.nii.gz")
    assert grid.shape == volume.shape and np.array_equal(grid.affine, volume.affine)


def test_a_2d_image_without_a_thickness(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS[:, :, 0, 0], np.eye(4))
    content = bytearray(image.to_bytes())
    content[254:256] = np.int16(1).tobytes()  # sform alone
    content[252:254] = bytes(2)
    rows = np.array([[0, -2, 0, 5], [1.5, 0, 0, -3], [0, 0, 0, 7]], "<f4")
    content[280:328] = rows.tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    affine = read_scan(tmp_path / "a.nii").affine
    np.testing.assert_allclose(affine[:3, :2], rows[:, :2])
    np.testing.assert_allclose(affine[:3, 2], (0, 0, 1))


@pytest.mark.parametrize("qform", [0, 1])
def test_one_slice_without_a_thickness(tmp_path: Path, qform: int) -> None:
    content = bytearray(nib.Nifti1Image(VOXELS[:, :, :1, 0], np.diag([1.5, 2, 3, 1])).to_bytes())
    content[252:256] = np.array([qform, 0], "<i2").tobytes()
    content[88:92] = bytes(4)  # pixdim[3]
    (tmp_path / "a.nii").write_bytes(content)
    with collect_warnings():
        np.testing.assert_allclose(read_scan(tmp_path / "a.nii").spacing, (1.5, 2, 1))


@pytest.mark.parametrize("flat", [False, True])
def test_a_fourth_axis_is_channels_only_where_they_are_declared(tmp_path: Path, flat: bool) -> None:
    array = VOXELS[:, :, :1] if flat else VOXELS
    path = save(tmp_path / "a.nii.gz", array)
    volume = read_scan(path, channels=("FLAIR", "T1", "T2"))
    assert np.array_equal(volume.array, array) and volume.channels == ("FLAIR", "T1", "T2")
    assert read_grid(path, channels=("FLAIR", "T1", "T2")).shape == array.shape[:3]
    for declared in ((), ("FLAIR",), ("FLAIR", "T1")):
        for read in (read_scan, read_grid):
            with pytest.raises(InputError, match=r"E_NDIM .*4-D, 3 (volumes|time points)"):
                read(path, channels=declared)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"xyzt_units": 10}, "3 time points"),
        ({"xyzt_units": 2, "pixdim": [1, 1, 1, 1, 2.5, 1, 1, 1]}, "3 time points"),
        ({"xyzt_units": 2, "pixdim": [1, 1, 1, 1, 0, 1, 1, 1]}, "3 volumes"),
    ],
)
def test_time_is_called_time(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    content = bytearray(save(tmp_path / "a.nii", VOXELS).read_bytes())
    content[123] = fields["xyzt_units"]
    if "pixdim" in fields:
        content[76:108] = np.array(fields["pixdim"], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught, collect_warnings():
        read_scan(tmp_path / "a.nii")
    assert "channel_names" in str(caught.value)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("flat", [False, True])
def test_vectors(tmp_path: Path, kind: str, flat: bool) -> None:
    array = (VOXELS[:, :, :1] if flat else VOXELS)[:, :, :, np.newaxis].astype(kind)
    path = save(tmp_path / "a.nii", array, intent_code=1007)
    volume = read_scan(path)
    assert np.array_equal(volume.array, array[:, :, :, 0])
    assert volume.channels == (("red", "green", "blue") if kind == "uint8" else ("0", "1", "2"))
    assert read_scan(path, channels="abc").channels == ("a", "b", "c")
    with pytest.raises(InputError, match=r"E_NDIM .*5-D|E_NDIM .*4-D"):
        read_scan(save(tmp_path / "b.nii", array))


def test_vectors_of_itk(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((5, 6, 7, 4), np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), tmp_path / "a.nii.gz")
    volume = read_scan(tmp_path / "a.nii.gz")
    assert np.array_equal(volume.array, np.transpose(array, (2, 1, 0, 3)))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("opaque", [None, True, False])
def test_colours(tmp_path: Path, flat: bool, opaque: bool | None) -> None:
    values = VOXELS[:, :, :1] if flat else VOXELS
    if opaque is not None:
        alpha = np.full((*values.shape[:3], 1), 255, np.uint8)
        alpha[2, 3, 0] = 255 if opaque else 7
        values = np.concatenate([values, alpha], axis=-1)
    array = np.ascontiguousarray(values).view(RGB24 if opaque is None else RGBA32)[..., 0]
    path = save(tmp_path / "a.nii", array)
    with collect_warnings() as notes:
        volume = read_scan(path)
    assert np.array_equal(volume.array, values[..., :3]) and volume.array.dtype == np.uint8
    assert volume.channels == ("red", "green", "blue")
    assert [note.split()[0] for note in notes] == ["W_ALPHA"] * (opaque is False)


@pytest.mark.parametrize("version", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("capital", [False, True])
def test_pairs(tmp_path: Path, version: Any, zipped: bool, capital: bool) -> None:
    image = version(VOXELS[..., 0].astype(np.int16), AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / "a.hdr")
    names = {".hdr": "a.hdr", ".img": "a.img"}
    if capital:
        names = {
            end: (tmp_path / name).rename(tmp_path / name.upper()).name
            for end, name in names.items()
        }
    if zipped:
        voxels = tmp_path / names[".img"]
        names[".img"] = names[".img"] + (".GZ" if capital else ".gz")
        (tmp_path / names[".img"]).write_bytes(gzip.compress(voxels.read_bytes()))
        voxels.unlink()
    for name in names.values():
        volume = read_scan(tmp_path / name)
        assert np.array_equal(volume.array, VOXELS[..., 0])
        np.testing.assert_allclose(volume.affine, AFFINE)
        assert read_grid(tmp_path / name).shape == (7, 6, 5)
    voxels = tmp_path / names[".img"]
    voxels.write_bytes(voxels.read_bytes()[:-3])
    with pytest.raises(InputError, match="E_TRUNCATED"):
        read_scan(tmp_path / names[".hdr"])
    voxels.unlink()
    with pytest.raises(InputError, match=r"E_TRUNCATED .*its \.img file|E_TR.*A.HDR"):
        read_scan(tmp_path / names[".hdr"])


def test_analyze_is_named_as_what_it_is(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(VOXELS[..., 0], None), tmp_path / "a.hdr")
    for name in ("a.hdr", "a.img"):
        with pytest.raises(InputError, match=r"E_UNSUPPORTED .*Analyze 7\.5"):
            read_scan(tmp_path / name)


def test_bytes_behind_the_voxels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", VOXELS[..., 0])
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(1000)))
    assert np.array_equal(read_scan(path).array, VOXELS[..., 0])


def test_declared_channels_must_be_there(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", VOXELS[..., 0])
    assert read_scan(path, channels=["T1"]).channels == ()
    with pytest.raises(InputError, match=r"E_CHANNELS .*1 channel(.|\n)*2, .*: T1, T2"):
        read_scan(path, channels=["T1", "T2"])
    colours = save(tmp_path / "b.nii", np.ascontiguousarray(VOXELS).view(RGB24)[..., 0])
    with pytest.raises(InputError, match=r"3 channels \(red, green, blue\)(.|\n)*1, .*: T1"):
        read_scan(colours, channels=["T1"])


def test_a_scaling_of_colours_has_no_effect(tmp_path: Path) -> None:
    colours = np.ascontiguousarray(VOXELS).view(RGB24)[..., 0]
    path = save(tmp_path / "a.nii", colours, scl_slope=2.0, scl_inter=3.0)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([2.0, 3.0], "<f4").tobytes()
    path.write_bytes(content)
    assert np.array_equal(read_scan(path).array, VOXELS)
