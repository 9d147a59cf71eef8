"""An image of one slice becomes a 2-D image, and its mask goes back into the file's space."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SliceInferer
from monai.transforms import Compose, Orientationd, Spacingd

from monai_semiseg.errors import DimensionError
from monai_semiseg.inferers.windows import WindowInferer
from monai_semiseg.transforms.grids import DropSliceAxisd
from monai_semiseg.transforms.restore import LabelOnScanGridd

SPACING = (0.7, 0.9, 5.0)
ORDERS = [
    np.array([[a, s], [b, t], [3 - a - b, u]], dtype=float)
    for a in range(3)
    for b in range(3)
    if a != b
    for s, t, u in ((1, 1, 1), (-1, 1, -1))
]


def slice_of(order: Any, alone: int, label: Any) -> dict[str, Any]:
    """Return an item whose file stores a slice of one anatomical axis in some order of axes."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-20, 30, 7)
    shape = label.shape
    stored = np.ascontiguousarray(nib.orientations.apply_orientation(label, order))
    native = affine @ nib.orientations.inv_ornt_aff(order, shape)
    meta = {"original_affine": native, "spatial_shape": np.array(stored.shape)}
    image = MetaTensor(torch.tensor(stored[None]), affine=torch.tensor(native), meta=meta)
    return {"image": image, "stored": stored, "alone": alone}


@pytest.mark.parametrize("alone", [0, 1, 2])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.astype(int).tolist().__str__())
def test_a_mask_comes_back_to_the_file(order: Any, alone: int) -> None:
    shape = [6, 7, 8]
    shape[alone] = 1
    label = np.random.default_rng(alone).integers(0, 3, shape).astype(np.float32)
    item = slice_of(order, alone, label)
    steps = Compose(
        [
            Orientationd("image", axcodes="RAS", labels=None),
            DropSliceAxisd("image", spatial_dims=2),
        ]
    )
    out = steps(item)
    kept = [axis for axis in range(3) if axis != alone]
    assert np.array_equal(out["image"][0], label.squeeze(alone)), "the same axes for every file"
    assert np.allclose(out["image"].pixdim, [SPACING[axis] for axis in kept])
    one_hot = torch.nn.functional.one_hot(torch.as_tensor(out["image"][0]).long(), 3)
    out["pred"] = 50.0 * one_hot.movedim(-1, 0)
    restored = LabelOnScanGridd("pred")(out)["pred"]
    assert np.array_equal(restored[0], item["stored"])
    assert np.allclose(restored.affine, item["image"].meta["original_affine"])


def test_positions_survive_another_spacing() -> None:
    """Resample a ramp in mm and restore it as classes: it is the ramp at the file's pixels."""
    label = np.zeros((40, 30, 1), dtype=np.float32)
    item = slice_of(np.array([[1, -1], [0, 1], [2, 1]], dtype=float), 2, label)
    steps = Compose(
        [
            Orientationd("image", axcodes="RAS", labels=None),
            DropSliceAxisd("image", spatial_dims=2),
            Spacingd("image", pixdim=(1.0, 1.0), mode="bilinear"),
        ]
    )
    out = steps(item)
    assert tuple(out["image"].shape[1:]) == (28, 27)
    right = torch.arange(28.0)[:, None].expand(28, 27)  # mm from the first pixel
    edge = 13.0
    out["pred"] = torch.stack([edge - right, right - edge])
    restored = LabelOnScanGridd("pred")(out)["pred"][0]
    native = np.asarray(item["image"].meta["original_affine"])
    index = np.stack(np.meshgrid(*map(np.arange, restored.shape), indexing="ij"), -1)
    mm = nib.affines.apply_affine(native, index)[..., 0] + 20.0
    certain = np.abs(mm - edge) > 0.01
    assert np.array_equal(restored.numpy()[certain] == 1, (mm > edge)[certain])


def test_what_does_not_fit_the_network_is_refused_by_name() -> None:
    meta = {"filename_or_obj": "some/scan_7.nii.gz"}
    one = {"image": MetaTensor(torch.ones(3, 9, 8, 1), meta=meta)}
    scan = {"image": MetaTensor(torch.ones(1, 9, 8, 4), meta=meta)}
    with pytest.raises(DimensionError, match=r"scan_7.nii.gz: one slice \(9x8x1\): a 2-D image"):
        DropSliceAxisd("image", spatial_dims=3)(one)
    with pytest.raises(DimensionError, match=r"scan_7.nii.gz: a 3-D scan \(9x8x4\)"):
        DropSliceAxisd("image", spatial_dims=2)(scan)
    kept = DropSliceAxisd("image", spatial_dims=2, slices=True)(scan)["image"]
    assert kept.shape == (1, 9, 8, 4)
    assert DropSliceAxisd("image", spatial_dims=2, slices=True)(one)["image"].shape == (3, 9, 8)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_windows_go_over_slices_along_any_axis(axis: int) -> None:
    """Check that the network sees 2-D windows alone, and every slice gets its own result."""
    torch.manual_seed(0)
    scan = torch.rand(1, 2, 9, 10, 11)
    conv = torch.nn.Conv2d(2, 3, 1)
    inferer = WindowInferer(
        roi_size=[8, 8], sw_batch_size=3, overlap=0.5, mode="gaussian", slice_axis=axis
    )
    with torch.no_grad():
        out = inferer(scan, conv)
        slices = [conv(scan.select(axis + 2, n)) for n in range(scan.shape[axis + 2])]
        assert torch.allclose(out, torch.stack(slices, axis + 2), atol=1e-5)
        flat = inferer(scan[..., 0], conv)
        assert torch.allclose(flat, conv(scan[..., 0]), atol=1e-5)


def test_windows_over_slices_keep_all_settings() -> None:
    torch.manual_seed(0)
    scan = torch.rand(1, 2, 5, 6, 3)
    conv = torch.nn.Conv2d(2, 3, 3, padding=1)
    settings = {"roi_size": [8, 8], "mode": "gaussian", "sigma_scale": 0.5, "cval": 7.0}
    inferer = WindowInferer(**settings, cache_roi_weight_map=True)
    with torch.no_grad():
        expected = SliceInferer(2, **settings)(scan, conv)
        for _ in range(2):
            assert torch.equal(inferer(scan, conv), expected)
        assert not torch.allclose(WindowInferer([8, 8])(scan, conv), expected)
