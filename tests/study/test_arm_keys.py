"""Settings of arms are checked before any cell runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.study.arm_keys import refuse_unknown_settings
from monai_semiseg.study.arms import arms_of_file

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BASELINES = BUNDLES / "semisupervised_baselines"
HEBBIAN = str(BUNDLES / "hebbian_initializer")


def checked(arm: dict[str, Any]) -> None:
    refuse_unknown_settings(arms_of_file({"mine": arm}, BASELINES))


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ({"settings": {"learning_rat": 0.1}}, "arm 'mine': .*learning_rat(.|\n)*learning_rate"),
        (
            {"pretrain": [{"bundle": HEBBIAN, "settings": {"autocast_dtype": "bfloat16"}}]},
            "arm 'mine', pretrain 1: .*autocast_dtype",
        ),
        ({"evaluate_overlays": ["bad.yaml"]}, "bad.yaml: arm 'mine', evaluation: .*overlpa"),
        ({"overlays": ["bad.yaml"]}, "bad.yaml: arm 'mine': .*overlpa"),
    ],
    ids=["training", "pretraining", "evaluation", "overlay"],
)
def test_an_unknown_key_is_named_with_its_step(
    arm: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("overlpa: 0.3\n")
    with pytest.raises(ConfigError, match=words):
        checked(arm)


def test_known_keys_pass() -> None:
    """Pass what training and evaluation have, and what the training alone has."""
    checked({"settings": {"patch_size": [32, 32, 32], "learning_rate": 0.1}})
    checked({"settings": {"patch_size": "[32, 32, 32]", "device": "$torch.device('cpu')"}})
    checked({"settings": {"channel_names": "[FLAIR,T1]"}})
    checked({"pretrain": [{"bundle": HEBBIAN, "settings": {"iterations": 3}}]})
