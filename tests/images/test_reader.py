"""MONAI's LoadImaged through ScanReader: geometry in the MetaTensor, faults not papered over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from monai.transforms import LoadImage, LoadImaged

from monai_semiseg.errors import InputError
from monai_semiseg.images.reader import ScanReader, collect_voxels

NAME = "monai_semiseg.images.reader.ScanReader"


@pytest.mark.parametrize("seed", range(5))
def test_random_geometry_of_every_format(make: SimpleNamespace, tmp_path: Path, seed: int) -> None:
    """Check that one random grid, stored four ways, is one MetaTensor.

    Voxels lie where the affine says.
    """
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes[:, 2] = np.cross(
        axes[:, 0], axes[:, 1]
    )  # right-handed in LPS: a DICOM stack cannot be left-handed
    spacing = rng.uniform(0.5, 3, 3)
    origin = rng.uniform(-80, 80, 3)
    shape = (7, 6, 8)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = origin
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    make.nifti(tmp_path / "a.nii.gz", ras, shape, np.float32)
    image = sitk.GetImageFromArray(make.at(make.coordinates(shape, ras)).astype(np.float32).T)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(axes.ravel().tolist())
    sitk.WriteImage(image, tmp_path / "a.nrrd")
    sitk.WriteImage(image, tmp_path / "a.mha", useCompression=True)
    make.series(
        tmp_path / "dicom",
        count=8,
        orientation=(*axes[:, 0], *axes[:, 1]),
        gap=spacing[2],
        origin=origin,
        size=(6, 7),
        spacing=(spacing[1], spacing[0]),
    )
    for name in ("a.nii.gz", "a.nrrd", "a.mha", "dicom"):
        tensor = LoadImage(reader=NAME)(str(tmp_path / name))
        assert tensor.shape == shape
        np.testing.assert_allclose(tensor.affine, ras, atol=2e-4)
        np.testing.assert_allclose(tensor.numpy(), make.at(make.coordinates(shape, ras)), atol=0.52)


def test_a_fault_does_not_fall_back_to_another_reader(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    path = make.nifti(tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="E_TRUNCATED"):
        LoadImaged("image", reader=NAME)({"image": str(path)})


def test_list_of_slices(make: SimpleNamespace, tmp_path: Path) -> None:
    files = [str(file) for file in make.series(tmp_path)]
    item = LoadImaged("image", reader=NAME)({"image": files})
    assert item["image"].shape == (7, 6, 8)


def test_nonfinite_is_a_setting(make: SimpleNamespace, tmp_path: Path) -> None:
    path = make.nifti(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[352:356] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match="E_NONFINITE"):
        LoadImage(reader=ScanReader())(str(path))
    with pytest.warns(UserWarning, match="W_NONFINITE"):
        assert LoadImage(reader=ScanReader(nonfinite=0.0))(str(path))[0, 0, 0] == 0


def test_voxels_are_collected_as_they_were_read(make: SimpleNamespace, tmp_path: Path) -> None:
    paths = [make.nifti(tmp_path / f"{n}.nii") for n in range(2)]
    load = LoadImage(reader=NAME)
    with collect_voxels() as voxels:
        tensors = [load(str(path)) for path in paths]
        expected = [tensor.numpy().copy() for tensor in tensors]
        for tensor in tensors:
            tensor.zero_()
    load(str(paths[0]))
    assert len(voxels) == 2
    for found, wanted in zip(voxels, expected, strict=True):
        assert wanted.any()
        np.testing.assert_array_equal(found, wanted)


def test_every_name_is_tried() -> None:
    """Try every name: MONAI asks for suffixes, but DICOM files may have any name."""
    reader = ScanReader()
    assert reader.verify_suffix("IM0001") is True
    assert reader.verify_suffix(["a.nii.gz", "b"]) is True


def test_a_list_of_one_file_is_that_file(make: SimpleNamespace, tmp_path: Path) -> None:
    path = make.nifti(tmp_path / "a.nii.gz")
    reader = ScanReader()
    for data in (str(path), [str(path)], path):
        voxels, meta = reader.get_data(reader.read(data))
        np.testing.assert_array_equal(voxels, reader.get_data([path])[0])
        assert meta["spatial_shape"].tolist() == list(voxels.shape)
        assert meta["space"] == "RAS"
        np.testing.assert_array_equal(meta["affine"], meta["original_affine"])
        assert meta["affine"] is not meta["original_affine"]
        assert np.isnan(meta["original_channel_dim"])
