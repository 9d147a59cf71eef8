"""Labels come onto the grid of their image where both are loaded."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, Spacingd

from monai_semiseg.errors import GeometryError
from monai_semiseg.transforms.grids import LabelOnImageGridd

AFFINE = np.diag([1.0, 1.2, 1.5, 1.0])
TURN = np.array([[2, -1], [0, 1], [1, -1]], dtype=float)


def item(label: np.ndarray, affine: np.ndarray) -> dict[str, MetaTensor]:
    meta = {"filename_or_obj": "some/label.nii.gz"}
    return {
        "image": MetaTensor(torch.rand(1, 6, 7, 8), affine=torch.tensor(AFFINE)),
        "label": MetaTensor(torch.tensor(label[None]), affine=torch.tensor(affine), meta=meta),
    }


def drawn() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (6, 7, 8)).astype(np.float32)


def test_a_label_in_another_order_comes_onto_the_grid() -> None:
    stored = np.ascontiguousarray(nib.orientations.apply_orientation(drawn(), TURN))
    affine = AFFINE @ nib.orientations.inv_ornt_aff(TURN, (6, 7, 8))
    given = item(stored, affine)
    out = LabelOnImageGridd("label")(given)["label"]
    assert np.array_equal(out[0], drawn())
    assert torch.equal(out.affine, given["image"].affine)
    assert out.meta["filename_or_obj"] == "some/label.nii.gz"
    assert tuple(out.meta["spatial_shape"]) == (6, 7, 8)
    assert given["label"].shape == (1, *stored.shape), "the item that was given is not changed"


def test_what_follows_treats_image_and_label_alike() -> None:
    """Check an affine of other last digits, with which Spacingd makes another number of voxels."""
    affine = AFFINE.copy()
    affine[:3, :3] *= 1 + 1e-5
    steps = Compose(
        [
            LabelOnImageGridd("label"),
            Orientationd(["image", "label"], axcodes="LIP", labels=None),
            Spacingd(["image", "label"], pixdim=(0.7, 0.7, 0.7), mode=["bilinear", "nearest"]),
        ]
    )
    out = steps(item(drawn(), affine))
    assert out["image"].shape == out["label"].shape
    assert torch.equal(out["image"].affine, out["label"].affine)


@pytest.mark.parametrize("offset", [0.01, 3.0])
def test_a_shifted_label_is_refused_by_name(offset: float) -> None:
    affine = AFFINE.copy()
    affine[1, 3] += offset
    with pytest.raises(GeometryError, match=f"{offset:g} mm") as caught:
        LabelOnImageGridd("label")(item(drawn(), affine))
    assert "some/label.nii.gz" in str(caught.value)


def test_an_absent_label_is_passed_over_on_request() -> None:
    image = {"image": item(drawn(), AFFINE)["image"]}
    assert LabelOnImageGridd("label", allow_missing_keys=True)(image) == image
    with pytest.raises(KeyError):
        LabelOnImageGridd("label")(image)
