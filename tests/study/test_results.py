"""The reference of an arm."""

from __future__ import annotations

import pytest

from monai_semiseg.study.results import reference_of


@pytest.mark.parametrize(
    ("arm", "reference"),
    [
        ("supervised", "supervised"),
        ("supervised+hebbian", "supervised"),
        ("mean_teacher", "supervised"),
        ("mean_teacher+hebbian", "supervised+hebbian"),
        ("mean_teacher+contrastive", "supervised"),
    ],
)
def test_reference(arm: str, reference: str) -> None:
    arms = [
        "supervised",
        "supervised+hebbian",
        "mean_teacher",
        "mean_teacher+hebbian",
        "mean_teacher+contrastive",
    ]
    assert reference_of(arm, arms) == reference
