"""Preprocessing and masks as nnU-Net's own code makes them from the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd
from numpy.typing import NDArray
from PIL import Image

from monai_semiseg.errors import InputError
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.transforms.nnunet import NnunetLabeld, NnunetPreprocessd
from tests.nnunet_builders import configuration, dataset_content, plans_content

pytest.importorskip("nnunetv2")
LPS = np.array([[-0.9, 0, 0, 10], [0, -1.2, 0, -4], [0, 0, 3.0, 7], [0, 0, 0, 1]])
PERMUTED = np.array([[0, 0, 1.1, 3], [-0.9, 0, 0, 10], [0, 2.0, 0, -4], [0, 0, 0, 1]])


def _write(path: Path, affine: NDArray[np.float64]) -> Path:
    """Write an image in noise with a border of zeros, and a box in it."""
    rng = np.random.default_rng(1)
    voxels = rng.normal(100, 20, (13, 17, 9)).astype(np.float32)
    voxels[4:9, 5:12, 3:7] += 80
    voxels[:2] = 0
    voxels[:, -3:] = 0
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def _nnunet(path: Path, content: dict[str, Any], name: str) -> tuple[Any, Any, Any, Any]:
    """Return plans, configuration, data and properties as nnU-Net has them."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(content)
    settings = plans.get_configuration(name)
    preprocessor = settings.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(
        [str(path)], None, plans, settings, dataset_content()
    )
    return plans, settings, data, properties


def _ours(
    path: Path, content: dict[str, Any], name: str, channels: tuple[str, ...] = ()
) -> dict[Any, Any]:
    is_reoriented = content["image_reader_writer"].endswith("WithReorient")
    steps = Compose(
        [
            LoadImaged("image", reader=ScanReader, channels=channels),
            EnsureChannelFirstd("image"),
            *([Orientationd("image", "RAS", labels=None)] if is_reoriented else []),
            NnunetPreprocessd("image", content, name),
        ]
    )
    item: dict[Any, Any] = steps({"image": str(path)})
    return item


@pytest.mark.parametrize("affine", [LPS, PERMUTED], ids=["lps", "permuted"])
@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIOWithReorient"])
def test_images_and_masks_are_those_of_nnunet(
    tmp_path: Path, affine: NDArray[np.float64], name: str, reader: str
) -> None:
    from nnunetv2.inference.export_prediction import export_prediction_from_logits

    path = _write(tmp_path / "scan.nii.gz", affine)
    content = plans_content(
        image_reader_writer=reader, transpose_forward=[1, 0, 2], transpose_backward=[1, 0, 2]
    )
    plans, settings, data, properties = _nnunet(path, content, name)
    item = _ours(path, content, name)
    assert item["image"].shape == data.shape
    np.testing.assert_allclose(item["image"].numpy(), data, atol=1e-4)

    torch.manual_seed(0)
    logits = torch.nn.functional.avg_pool3d(torch.randn(2, *data.shape[1:]), 3, 1, 1).half()
    export_prediction_from_logits(
        logits, properties, settings, plans, dataset_content(), str(tmp_path / "theirs")
    )
    theirs = np.asarray(nib.load(tmp_path / "theirs.nii.gz").dataobj)
    item["pred"] = MetaTensor(logits.float())
    out = NnunetLabeld("pred", content, name, dataset_content(), uncertainty_key="entropy")(item)
    assert 0.1 < theirs.mean() < 0.9
    np.testing.assert_array_equal(out["pred"][0].numpy(), theirs)
    np.testing.assert_allclose(out["pred"].affine.numpy(), affine)
    entropy = out["entropy"][0].numpy()
    assert entropy.shape == theirs.shape
    assert 0 <= entropy.min() < 0.01 < 0.9 < entropy.max() <= 1  # nothing outside of the crop


def test_colour_pictures_are_those_of_nnunet(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(2).integers(1, 256, (22, 31, 3), dtype=np.uint8)
    pixels[:4] = 0
    Image.fromarray(pixels).save(path)
    content = plans_content(channels=3, image_reader_writer="NaturalImage2DIO")
    _, _, data, _ = _nnunet(path, content, "2d")
    item = _ours(path, content, "2d", ("R", "G", "B"))
    assert item["image"].shape == data.shape == (3, 1, 12, 31)  # 18 rows of 1 px, in 1.5 px
    np.testing.assert_allclose(item["image"].numpy(), data, atol=1e-4)
    item["pred"] = MetaTensor(torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 12, 31))
    mask = NnunetLabeld("pred", content, "2d", dataset_content())(item)["pred"][0, :, :, 0]
    assert torch.equal(mask.as_tensor().T != 0, torch.from_numpy(pixels).sum(-1) > 0)


def test_a_label_is_resampled_with_its_image(tmp_path: Path) -> None:
    path = _write(tmp_path / "scan.nii.gz", np.diag([1.0, 1.5, 2.0, 1.0]))  # the plans' spacing
    item = _ours(path, plans_content(), "3d_fullres")
    steps = NnunetPreprocessd("image", plans_content(), "3d_fullres", label_key="label")
    loaded = EnsureChannelFirstd("image")(LoadImaged("image", reader=ScanReader)({"image": path}))
    label = torch.zeros(1, 13, 17, 9)
    label[:, 4:9, 5:12, 3:7] = 3
    both = steps({**loaded, "label": MetaTensor(label)})
    assert torch.equal(both["image"].as_tensor(), item["image"].as_tensor())
    cropped = label[:, 2:, :-3].permute(0, 3, 2, 1)
    assert torch.equal(both["label"].as_tensor().float(), cropped)


def test_regions_are_written_in_their_order() -> None:
    content = plans_content(configurations={"3d_fullres": configuration()})
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    dataset = dataset_content(labels=labels, regions_class_order=[1, 2])
    image = MetaTensor(torch.ones(1, 6, 7, 8), affine=torch.diag(torch.tensor([1, 1.5, 2, 1])))
    image.meta |= {"original_affine": image.affine.numpy(), "spatial_shape": image.shape[1:]}
    item = NnunetPreprocessd("image", content, "3d_fullres")({"image": image})
    logits = torch.full((2, 8, 7, 6), -9.0)
    logits[0, :, :, :4] = 9
    logits[1, :, :, :2] = 9
    item["pred"] = MetaTensor(logits)
    out = NnunetLabeld("pred", content, "3d_fullres", dataset)(item)["pred"][0]
    assert (out[:2] == 2).all() and (out[2:4] == 1).all() and (out[4:] == 0).all()


def test_an_image_of_zeros_fails_by_name(tmp_path: Path) -> None:
    path = tmp_path / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7), np.float32), np.eye(4)), path)
    with pytest.raises(Exception) as caught:
        _ours(path, plans_content(), "3d_fullres")
    cause = caught.value
    while cause.__cause__ is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    assert isinstance(cause, InputError)
    assert "nothing but zeros" in str(cause) and "empty.nii.gz" in str(cause)
