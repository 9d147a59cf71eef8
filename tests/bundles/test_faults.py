"""Typed errors for data and weights that a bundle cannot use."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.errors import CheckpointError, ConfigError, LabelError, root_cause

Settings = Callable[..., dict[str, Any]]
Trained = Callable[[Path], Path]


def test_faults_of_the_data_are_typed_errors(
    bundle: Path, data: Path, tmp_path: Path, settings: Settings
) -> None:
    """Check that typed errors are found within the config parser's wrappers."""
    for config, more, kind, words in (
        ("train", {"datalist": str(tmp_path / "nowhere.json")}, ConfigError, "no datalist found"),
        (
            "train",
            {"dataset_dir": str(tmp_path), "datalist": str(data / "datalist.json")},
            ConfigError,
            "not there",
        ),
        (
            "train",
            {"out_channels": 2, "label_names": {"0": "background", "1": "all"}},
            LabelError,
            r"\[2.0\]",
        ),
        ("evaluate", {"section": "nobody"}, ConfigError, "no scan to evaluate"),
        ("evaluate", {"section": "tset"}, ConfigError, "no section 'tset'"),
    ):
        with pytest.raises((RuntimeError, ConfigError)) as caught:
            run_workflow(bundle, config, settings(bundle, config, data, tmp_path / "x", **more))
        cause = root_cause(caught.value)
        assert isinstance(cause, kind), caught.value
        assert re.search(words, str(cause)), str(cause)


@pytest.mark.parametrize("config", ["evaluate", "inference"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no weights found"),
        ({"nothing.fits": torch.ones(1)}, "0 of"),
        ([1], "holds a list"),
        ("half", "not used|missing"),
    ],
    ids=["absent", "other network", "no weights", "half of them"],
)
def test_weights_that_do_not_fit_are_typed_errors(
    bundle: Path,
    data: Path,
    trained: Trained,
    tmp_path: Path,
    settings: Settings,
    config: str,
    content: Any,
    words: str,
) -> None:
    state = torch.load(trained(bundle) / "model.pt", weights_only=True)
    half = dict(list(state.items())[: len(state) // 2])
    if content is not None:
        torch.save(half if content == "half" else content, tmp_path / "model.pt")
    dataset = data if config == "evaluate" else data / "images"
    asked = settings(
        bundle, config, dataset, tmp_path / "out", ckpt_path=str(tmp_path / "model.pt")
    )
    with pytest.raises((RuntimeError, CheckpointError)) as caught:
        run_workflow(bundle, config, asked)
    assert isinstance(root_cause(caught.value), CheckpointError)
    assert re.search(words, str(root_cause(caught.value)))
    assert not (tmp_path / "out").exists()
