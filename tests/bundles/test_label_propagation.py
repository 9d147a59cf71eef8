"""Label propagation through the bundle: labels move with scans, and registration is cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_semiseg.bundles.workflow import open_workflow, run_workflow
from monai_semiseg.transforms.registration import DemonsRegistration

from .conftest import SHAPE

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
METHOD = BUNDLE / "configs" / "methods" / "label_propagation.yaml"
Settings = Callable[..., dict[str, Any]]


@pytest.fixture
def asked(settings: Settings, tmp_path: Path, write_dataset: Callable[..., Path]) -> dict[str, Any]:
    data = write_dataset(tmp_path / "data", shape=SHAPE, sizes=(2, 2, 1))
    return settings(
        BUNDLE, "train", data, tmp_path / "run", iterations=1, **{"network_def#features": [4] * 6}
    )


def test_carried_over_labels_move_with_the_scan(asked: dict[str, Any]) -> None:
    """Check that propagated labels stay aligned with the weak view under augmentation."""
    augment = open_workflow(BUNDLE, "train", asked, [METHOD]).parser.get_parsed_content(
        "train#unlabelled#augmentation"
    )
    pattern = torch.rand(1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    pattern = torch.nn.functional.avg_pool3d(pattern, 5, 1, 2)
    for seed in range(20):
        out = augment.set_random_state(seed)(
            {"image": pattern.clone(), "propagated": pattern.clone()}
        )
        torch.testing.assert_close(out["propagated"], out["weak"], atol=1e-5, rtol=0)


def test_registered_once(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that registration runs once per unlabelled scan and folder."""
    run_workflow(BUNDLE, "train", asked, [METHOD])
    kept = tmp_path / "run" / "propagated"
    assert len(list(kept.iterdir())) == 2
    monkeypatch.setattr(
        DemonsRegistration, "deformable", lambda *_: pytest.fail("registered again")
    )
    other = {**asked, "ckpt_dir": str(tmp_path / "other"), "output_dir": str(tmp_path / "other")}
    run_workflow(BUNDLE, "train", {**other, "propagated_dir": str(kept)}, [METHOD])
