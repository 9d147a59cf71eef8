"""Fusion of network and registration: the formula, its limits, and scans where they differ."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_semiseg.errors import ConfigError
from monai_semiseg.images.volume import ScanWarning, collect_warnings
from monai_semiseg.transforms.fusion import FusedLabelOnScanGridd
from monai_semiseg.transforms.restore import LabelOnScanGridd

SHAPE = (5, 6, 4)


def item(agree: bool = False, seed: int = 0) -> dict[str, Any]:
    """Return logits and propagated labels of three classes, random or equal and certain."""
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn((3, *SHAPE), generator=rng)
    carried = torch.softmax(2 * torch.randn((3, *SHAPE), generator=rng), 0)[1:]
    if agree:
        logits = 9.0 * torch.nn.functional.one_hot(
            torch.randint(3, SHAPE, generator=rng), 3
        ).movedim(-1, 0)
        carried = torch.softmax(logits, 0)[1:]
    meta = {"original_affine": np.eye(4), "spatial_shape": SHAPE, "filename_or_obj": "x.nii"}
    image = MetaTensor(
        torch.zeros((1, *SHAPE)), affine=torch.eye(4, dtype=torch.float64), meta=meta
    )
    return {"image": image, "pred": MetaTensor(logits), "propagated": carried}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.filterwarnings("ignore:W_FUSION:monai_semiseg.images.volume.ScanWarning")
def test_against_the_formula(share: float) -> None:
    data = item()
    out = FusedLabelOnScanGridd("pred", share, uncertainty_key="doubt")(data)
    for place in itertools.product(*map(range, SHAPE)):
        z = [float(data["pred"][(c, *place)]) for c in range(3)]
        p = [float(data["propagated"][(c, *place)]) for c in range(2)]
        network = [math.exp(value) / sum(map(math.exp, z)) for value in z]
        mixed = [
            (1 - share) * a + share * b for a, b in zip(network, [1 - sum(p), *p], strict=True)
        ]
        assert int(out["pred"][(0, *place)]) == mixed.index(max(mixed))
        entropy = -sum(value * math.log(value) for value in mixed) / math.log(3)
        assert float(out["doubt"][(0, *place)]) == pytest.approx(entropy, abs=1e-4)


@pytest.mark.filterwarnings("ignore:W_FUSION:monai_semiseg.images.volume.ScanWarning")
def test_no_share_is_the_network_alone() -> None:
    data = item(seed=3)
    alone = LabelOnScanGridd("pred")(data)["pred"]
    assert torch.equal(FusedLabelOnScanGridd("pred", 0.0)(data)["pred"], alone)
    assert not torch.equal(FusedLabelOnScanGridd("pred", 0.9)(data)["pred"], alone)


def test_certain_labels_leave_no_nan() -> None:
    """Make both certain of one class, so that other probabilities are zero."""
    data = item(agree=True)
    data["pred"] = 1e4 * data["pred"]
    data["propagated"] = data["propagated"].round()
    out = FusedLabelOnScanGridd("pred", uncertainty_key="doubt")(data)
    assert (
        torch.equal(out["pred"][0], data["pred"].argmax(0))
        and 0 <= float(out["doubt"].max()) < 1e-5
    )


def test_a_scan_on_which_they_differ_is_marked() -> None:
    with collect_warnings() as notes:
        FusedLabelOnScanGridd("pred")(item())
    assert len(notes) == 1 and notes[0].startswith("W_FUSION x.nii: ") and "Dice of 0." in notes[0]
    with collect_warnings() as notes:
        FusedLabelOnScanGridd("pred")(item(agree=True))
    assert notes == []
    with pytest.warns(ScanWarning, match="W_FUSION"):
        FusedLabelOnScanGridd("pred")(item())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FusedLabelOnScanGridd("pred", min_dice=0.0)(item())


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(ConfigError, match="0 to 1"):
        FusedLabelOnScanGridd("pred", share)


def test_where_nothing_was_propagated_the_network_decides_alone() -> None:
    """Check that its own voxels are no agreement in W_FUSION."""
    data = item(seed=1)
    data["propagated"][:, :3] = torch.nan
    with collect_warnings():
        out = FusedLabelOnScanGridd("pred", 1.0)(data)["pred"][0]
    carried = data["propagated"]
    registered = torch.cat([1 - carried.sum(0, keepdim=True), carried]).argmax(0)
    assert torch.equal(out[:3].long(), data["pred"].argmax(0)[:3].long())
    assert torch.equal(out[3:].long(), registered[3:])
    agreeing = item(agree=True)
    agreeing["propagated"][:, :3] = torch.nan
    agreeing["pred"][:, 3:] = agreeing["pred"][:, 3:].roll(1, 0)  # of other classes
    with collect_warnings() as texts:
        FusedLabelOnScanGridd("pred")(agreeing)
    assert any("W_FUSION" in text and "Dice of 0.00" in text for text in texts)
