"""Label values are checked before training, with the file in the message."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import compute_dice
from monai.transforms import AsDiscreted

from monai_semiseg.errors import ConfigError, LabelError
from monai_semiseg.transforms.labels import (
    CheckLabeld,
    CheckReferenceLabeld,
    IgnoredAsBackgroundd,
)


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, 2],
        [0],
        [2],
        [0.0, 2.0],
        np.array([0, 1], dtype=np.uint8),
        np.array([0, 2], dtype=np.int64),
    ],
)
def test_declared_values_pass_unchanged(values: object) -> None:
    label = torch.as_tensor(values).reshape(1, 1, -1)
    item = {"image": torch.zeros(1), "label": label}
    checked = CheckLabeld("label", out_channels=3)(item)
    assert checked["label"] is label
    assert set(checked) == {"image", "label"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([0, 3], "3.0"),
        ([0, 255], "255.0"),
        ([-1, 0], "-1.0"),
        ([0.0, 0.5], "0.5"),
        ([1.0, 1.9], "1.9"),
        ([0.0, float("nan")], "nan"),
        ([float("inf"), 0.0], "inf"),
    ],
)
def test_other_values_are_refused_and_named(values: list[float], named: str) -> None:
    label = MetaTensor(
        torch.tensor(values).reshape(1, 1, -1), meta={"filename_or_obj": "some/label_7.nii.gz"}
    )
    with pytest.raises(LabelError, match=re.escape(named)) as caught:
        CheckLabeld("label", out_channels=3)({"label": label})
    assert "some/label_7.nii.gz" in str(caught.value)
    assert "from 0 to 2" in str(caught.value)


def test_nearly_whole_values_become_whole() -> None:
    """Round as monai-semiseg check does; a loss would cut 0.99999994 to class 0."""
    label = MetaTensor(
        torch.tensor([0.0, 0.99999994, 2.0002]).reshape(1, 1, -1), affine=torch.eye(4) * 2
    )
    checked = CheckLabeld("label", out_channels=3)({"label": label})["label"]
    assert checked.flatten().long().tolist() == [0, 1, 2]
    assert torch.equal(checked.affine, label.affine)
    assert label.flatten()[1] != 1, "the item that was given is not changed"


def test_every_key_is_checked_and_an_absent_one_only_on_request() -> None:
    good = torch.tensor([0, 1])
    bad = torch.tensor([0, 9])
    with pytest.raises(LabelError, match="9"):
        CheckLabeld(["a", "b"], out_channels=2)({"a": good, "b": bad})
    with pytest.raises(KeyError):
        CheckLabeld(["a", "b"], out_channels=2)({"a": good})
    assert (
        CheckLabeld(["a", "b"], out_channels=2, allow_missing_keys=True)({"a": good})["a"] is good
    )


def test_many_wrong_values_stay_a_short_message() -> None:
    with pytest.raises(LabelError) as caught:
        CheckLabeld("label", out_channels=2)({"label": torch.arange(500)})
    assert len(str(caught.value).splitlines()) <= 4
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.int64])
def test_numbers_with_gaps_become_classes(dtype: torch.dtype) -> None:
    numbers = [0, 3, 200] if dtype == torch.uint8 else [0, 205, 420]
    values = torch.tensor(numbers, dtype=dtype)[torch.randint(0, 3, (1, 4, 5, 6))]
    label = MetaTensor(values, affine=torch.eye(4) * 2)
    checked = CheckLabeld("label", 3, numbers)({"label": label})["label"]
    assert checked.dtype == dtype and torch.equal(checked.affine, label.affine)
    slow = sum(torch.where(values == number, n, 0) for n, number in enumerate(numbers))
    assert torch.equal(checked.as_tensor(), torch.as_tensor(slow).to(dtype))
    assert torch.equal(label.as_tensor(), values), "the item that was given is not changed"


@pytest.mark.parametrize("strange", [1, 164, 204, 255, 421])
def test_undeclared_numbers_are_refused_with_count_and_file(strange: int) -> None:
    """Refuse 420, which would be 164 in 8 bits."""
    values = torch.tensor([0, 205, strange, strange], dtype=torch.int16)
    label = MetaTensor(values[None], meta={"filename_or_obj": "some/label_7.nii.gz"})
    with pytest.raises(LabelError) as caught:
        CheckLabeld("label", 3, [0, 205, 420])({"label": label})
    text = str(caught.value)
    assert f"[{strange}.0] in [2] voxels" in text and "some/label_7.nii.gz" in text
    assert "the label_values 0, 205, 420" in text
    assert ("ignore" in text) == (strange == 255)


def test_numbers_and_outputs_must_match() -> None:
    with pytest.raises(ConfigError, match="one number for every output"):
        CheckLabeld("label", 3, [0, 4])


@pytest.mark.parametrize(
    ("declared", "values", "refused"),
    [
        ({}, [0, 1, 2], ""),  # the network has 0 and 1 only
        ({}, [0, 205, 420], ""),
        ({}, [0, 1, 2, 255], "value 255 beside"),
        ({}, [0, -1], "-1"),
        ({}, [0, 0.5], "whole"),
        ({"0": "background", "1": "a", "2": "b"}, [0, 2], ""),
        ({"0": "background", "1": "a"}, [0, 2], r"2 \(1 voxels\)"),
        ({"background": 0, "a": 4}, [0, 4], ""),
    ],
    ids=str,
)
def test_references_keep_their_numbers(
    declared: dict[str, str], values: list[float], refused: str, tmp_path: Path
) -> None:
    """Keep labels that the network has no class for: they are scored as missed."""
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [], "labels": declared}))
    check = CheckReferenceLabeld("label", [0, 1], str(tmp_path / "datalist.json"))
    label = MetaTensor(torch.tensor(values)[None] + 1e-4, meta={"filename_or_obj": "a.nii"})
    if refused:
        with pytest.raises(LabelError, match=refused):
            check({"label": label})
        return
    assert check({"label": label})["label"].flatten().tolist() == values


LABELS = {"background": 0, "gland": 1, "ignore": 2, "vessel": 3}


@pytest.fixture
def partial(tmp_path: Path) -> str:
    """Write a datalist in which number 2 is ``ignore``, as nnU-Net declares it."""
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps({"labels": LABELS, "training": []}))
    return str(file)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.int16])
def test_ignored_voxels_become_class_minus_one(partial: str, kind: torch.dtype) -> None:
    label = torch.tensor([[[0, 1, 2, 3, 2]]], dtype=kind)
    classes = CheckLabeld("label", 3, [0, 1, 3], partial)({"label": label})["label"]
    assert classes.tolist() == [[[0, 1, -1, 2, -1]]]
    reference = CheckReferenceLabeld("label", [0, 1, 3], partial)({"label": label.float()})["label"]
    assert reference.tolist() == [[[0, 1, -1, 3, -1]]]
    assert label.tolist() == [[[0, 1, 2, 3, 2]]]


def test_other_values_beside_ignored_voxels_are_refused(partial: str) -> None:
    with pytest.raises(LabelError, match=r"\[4.0\] in \[1\] voxels") as caught:
        CheckLabeld("label", 3, [0, 1, 3], partial)({"label": torch.tensor([[[0, 2, 4]]])})
    assert "the label_values 0, 1, 3, 2" in str(caught.value)


@pytest.mark.parametrize("values", [[0, 1, 2], [0, 2]])
def test_a_class_for_ignored_voxels_is_refused(partial: str, values: list[int]) -> None:
    for build in (
        lambda: CheckLabeld("label", len(values), values, partial),
        lambda: CheckReferenceLabeld("label", values, partial),
    ):
        with pytest.raises(ConfigError, match="label 2 is called 'ignore'"):
            build()


def test_training_metrics_leave_ignored_voxels_out() -> None:
    """Compare MONAI's Dice with the Dice of the known voxels alone."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((3, 6, 6), generator=generator)
    label = torch.randint(-1, 3, (1, 6, 6), generator=generator).float()
    out = IgnoredAsBackgroundd("pred")({"pred": logits, "label": label})
    out = AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=3)(out)
    found = compute_dice(out["pred"][None], out["label"][None], include_background=False)[0]
    known = label[0] >= 0
    decided, truth = logits.argmax(0)[known], label[0][known]
    for c in (1, 2):
        overlap = ((decided == c) & (truth == c)).sum()
        assert float(found[c - 1]) == pytest.approx(
            float(2 * overlap / ((decided == c).sum() + (truth == c).sum()))
        )
    whole = {"pred": logits, "label": label.clamp_min(0)}
    assert all(IgnoredAsBackgroundd("pred")(whole)[key] is whole[key] for key in whole)
