"""Lists of files: one series is a scan, other files are channels on the grid of the first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from monai.transforms import LoadImaged
from PIL import Image

from monai_semiseg.errors import InputError
from monai_semiseg.images.reader import ScanReader, collect_voxels
from monai_semiseg.images.scan import read_grid, read_scan
from monai_semiseg.images.volume import collect_warnings

AFFINE = np.diag([1.5, 2.0, 2.5, 1.0])


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nib.save(image, path)
    return path


def noise(seed: int, shape: tuple[int, ...] = (12, 10, 8)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def test_files_on_one_grid_are_channels_in_the_order_of_the_list(tmp_path: Path) -> None:
    arrays = [noise(n) for n in range(3)]
    files = [save(tmp_path / f"{c}.nii.gz", a) for c, a in zip("cab", arrays, strict=True)]
    with collect_warnings() as notes:
        volume = read_scan(files, channels=["T2", "FLAIR", "T1"])
    assert not notes
    assert np.array_equal(volume.array, np.stack(arrays, axis=-1))
    assert volume.array.dtype == np.int16 and volume.channels == ("T2", "FLAIR", "T1")
    assert read_scan(files).channels == ("0", "1", "2")
    assert read_grid(files).shape == (12, 10, 8)


def test_the_reader_gives_channels_to_monai(tmp_path: Path) -> None:
    arrays = [noise(n) for n in range(2)]
    files = [str(save(tmp_path / f"{n}.nii.gz", a)) for n, a in enumerate(arrays)]
    reader = ScanReader(channels=["T1", "T2"])
    load = LoadImaged("image", reader=reader, ensure_channel_first=True, image_only=False)
    with collect_voxels() as voxels:
        item = load({"image": files})
    assert np.array_equal(item["image"].numpy(), np.stack(arrays))
    assert item["image"].meta["channels"] == ["T1", "T2"]
    assert np.array_equal(voxels[0], np.stack(arrays, axis=-1))


def test_other_orders_of_axes_need_no_resampling(make: SimpleNamespace, tmp_path: Path) -> None:
    first = make.nifti(tmp_path / "a.nii.gz")
    image = nib.load(first)
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, tmp_path / "b.nii.gz")
    with collect_warnings() as notes:
        volume = read_scan([first, tmp_path / "b.nii.gz"])
    assert not notes
    assert np.array_equal(volume.array[..., 0], volume.array[..., 1])


GRIDS: dict[str, tuple[tuple[int, ...], np.ndarray]] = {
    "shifted": ((12, 10, 8), nib.affines.from_matvec(np.diag([1.5, 2, 2.5]), (2, -1, 3))),
    "finer": ((30, 25, 20), nib.affines.from_matvec(np.diag([0.6, 0.8, 1.0]), (0.1, 0.2, 0))),
    "flipped": (
        (10, 8, 12),
        nib.affines.from_matvec([[0, 0, 1.6], [-2, 0, 0], [0, 2.4, 0]], (0, 18, 0)),
    ),
    "oblique": (
        (16, 14, 10),
        nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, 0.2, -0.1) * 1.6, (-3, -2, -1)),
    ),
}


@pytest.mark.parametrize("row", GRIDS)
def test_channels_on_another_grid_are_where_simple_itk_puts_them(tmp_path: Path, row: str) -> None:
    shape, affine = GRIDS[row]
    paths = [
        save(tmp_path / "a.nii.gz", noise(0)),
        save(tmp_path / "b.nii.gz", noise(1, shape), affine),
    ]
    with collect_warnings() as notes:
        volume = read_scan(paths)
    resample = sitk.ResampleImageFilter()
    moving = sitk.ReadImage(str(paths[1]), sitk.sitkFloat32)
    resample.SetReferenceImage(sitk.ReadImage(str(paths[0])))
    resample.SetDefaultPixelValue(float(sitk.GetArrayFromImage(moving).min()))
    expected = sitk.GetArrayFromImage(resample.Execute(moving)).T
    assert np.array_equal(volume.array[..., 0], noise(0))
    np.testing.assert_allclose(volume.array[..., 1], expected, atol=0.05)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.array.dtype == np.float32
    ends = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners = [
        nib.affines.apply_affine(a, ends * (np.array(s) - 1))
        for a, s in ((AFFINE, (12, 10, 8)), (affine, shape))
    ]
    nearest = [np.linalg.norm(corners[1] - corner, axis=1).min() for corner in corners[0]]
    assert len(notes) == 1 and "W_CHANNEL_GRID" in notes[0]
    assert f"up to {max(nearest):.3g} mm" in notes[0]


def test_every_voxel_lies_where_its_coordinates_say(make: SimpleNamespace, tmp_path: Path) -> None:
    """Check that linear interpolation keeps a linear function of the place."""
    shape = (30, 30, 30)
    affine = GRIDS["oblique"][1] @ nib.affines.from_matvec(np.eye(3), (-7, -7, -7))
    first = make.nifti(tmp_path / "a.nii", AFFINE, (12, 10, 8))
    second = save(
        tmp_path / "b.nii", make.at(make.coordinates(shape, affine)).astype(np.float32), affine
    )
    with collect_warnings():
        volume = read_scan([first, second])
    inside = volume.array[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(inside[..., 1], inside[..., 0], atol=0.51)


FAR = nib.affines.from_matvec(np.diag([1.5, 2, 2.5]), (11, 0, 0))
SMALL = nib.affines.from_matvec(np.diag([0.6, 0.6, 0.6]), (5, 5, 5))


@pytest.mark.parametrize(
    ("affine", "words"), [(FAR, "lies 11 mm from a.nii"), (SMALL, r"covers \d+% of it")]
)
def test_channels_of_another_place_are_refused(
    tmp_path: Path, affine: np.ndarray, words: str
) -> None:
    paths = [save(tmp_path / "a.nii", noise(0)), save(tmp_path / "b.nii", noise(1), affine)]
    with pytest.raises(InputError, match=f"E_GEOMETRY .*b.nii.*{words}"):
        read_scan(paths)


def test_a_file_of_several_channels_is_no_channel(tmp_path: Path) -> None:
    for name, mode in (("a.png", "L"), ("b.png", "RGB")):
        Image.new(mode, (9, 7)).save(tmp_path / name)
    with pytest.raises(InputError, match=r"E_NDIM .*b\.png: 3 channels in one of 2 files"):
        read_scan([tmp_path / "a.png", tmp_path / "b.png"])


def test_pictures_as_channels(tmp_path: Path) -> None:
    arrays = [np.random.default_rng(n).integers(0, 256, (7, 9), dtype=np.uint8) for n in range(2)]
    paths = [tmp_path / "a.png", tmp_path / "b.bmp"]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    volume = read_scan(paths, channels=["x", "y"])
    assert np.array_equal(volume.array[:, :, 0], np.stack(arrays, axis=-1).swapaxes(0, 1))
    assert volume.unit == "px" and volume.meta["format"] == "picture"
    Image.fromarray(arrays[0][:, :5]).save(paths[1])
    with pytest.raises(InputError, match=r"E_GEOMETRY .*5 x 7 pixels, but 9 x 7 in a\.png"):
        read_scan(paths)


@pytest.mark.parametrize("mixed", [False, True])
def test_dicom_series_as_channels(make: SimpleNamespace, tmp_path: Path, mixed: bool) -> None:
    """Give the files of two series in any order: the first one decides the first channel."""

    def brighter(data: Any, k: int) -> None:
        values = np.frombuffer(data.PixelData, "<i2") + 7
        data.PixelData = values.astype("<i2").tobytes()

    one = make.series(tmp_path / "one")
    two = make.series(tmp_path / "two", edit=brighter)
    last, *others = sorted(two, reverse=True)  # a series begins with any of its files
    files = [last, *one, *others] if mixed else [*two, *one]
    volume = read_scan(files, channels=["b", "a"])
    expected = read_scan(tmp_path / "one").array
    assert np.array_equal(volume.array, np.stack([expected + 7, expected], axis=-1))
    folders = read_scan([tmp_path / "two", tmp_path / "one"])
    assert np.array_equal(folders.array, volume.array)
    nifti = make.nifti(tmp_path / "c.nii", volume.affine, volume.shape)
    three = read_scan([nifti, *files])
    assert np.array_equal(three.array[..., 1:], volume.array)


def test_two_volumes_of_one_series_are_no_channels(make: SimpleNamespace, tmp_path: Path) -> None:
    def echo(number: int) -> Any:
        def edit(data: Any, k: int) -> None:
            data.EchoNumbers = number

        return edit

    files = [
        file
        for number in (1, 2)
        for file in make.series(tmp_path / str(number), uid="1.2.3", edit=echo(number))
    ]
    with pytest.raises(InputError, match=r"E_DICOM .*several volumes of one DICOM series"):
        read_scan(files)


@pytest.mark.parametrize("names", [["T1"], ["T1", "T2", "FLAIR"]])
def test_every_channel_has_a_file(tmp_path: Path, names: list[str]) -> None:
    paths = [save(tmp_path / f"{n}.nii", noise(n)) for n in range(2)]
    with pytest.raises(InputError, match=rf"E_CHANNELS .*2 files for {len(names)} channels"):
        read_scan(paths, channels=names)


def test_the_fault_of_one_channel_names_its_file(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.nii", noise(n)) for n in range(2)]
    paths[1].write_bytes(paths[1].read_bytes()[:-5])
    with pytest.raises(InputError, match=r"E_TRUNCATED .*1\.nii"):
        read_scan(paths)
    paths[1].unlink()
    with pytest.raises(InputError, match=r"1\.nii: does not exist"):
        read_scan(paths)


def test_a_constant_channel_is_said_by_name(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.nii", noise(0)), save(tmp_path / "b.nii", noise(0) * 0)]
    with collect_warnings() as notes:
        read_scan(paths, channels=["T1", "T2"])
    assert len(notes) == 1 and "W_CONSTANT" in notes[0] and "channel T2 is 0" in notes[0]
