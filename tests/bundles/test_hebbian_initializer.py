"""Hebbian initializer through its configs: no labels, stock weights, fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet

from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.errors import ConfigError, root_cause

ROOT = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE = ROOT / "hebbian_initializer"
BASELINES = ROOT / "semisupervised_baselines"
FEATURES = [4] * 6
Raw = Callable[[Path, str], dict[str, Any]]
Settings = Callable[..., dict[str, Any]]
Pretrain = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_dataset: Callable[..., Path]) -> Path:
    """Create four scans and a datalist without labels."""
    return write_dataset(tmp_path_factory.mktemp("data"), scans=4, sizes=(1, 3, 0), labelled=False)


@pytest.fixture
def pretrain(settings: Settings, data: Path) -> Pretrain:
    """Pretrain for four iterations and return the weights."""
    small = {"iterations": 4, "epoch_iterations": 2, "network_def#features": FEATURES}

    def run(folder: Path, overlays: Sequence[Path] = (), **more: Any) -> dict[str, torch.Tensor]:
        asked = settings(BUNDLE, "pretrain", data, folder, **small, **more)
        run_workflow(BUNDLE, "pretrain", asked, overlays)
        return torch.load(folder / "model.pt", weights_only=True)  # type: ignore[no-any-return]

    return run


def test_scans_without_labels_give_weights_of_a_stock_network(
    pretrain: Pretrain, tmp_path: Path
) -> None:
    weights = pretrain(tmp_path)
    network = BasicUNet(3, 1, 3, FEATURES)
    assert all(torch.isfinite(value).all() for value in weights.values())
    network.load_state_dict(weights)
    again = pretrain(tmp_path / "again")
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    assert (tmp_path / "filters.png").is_file() and (tmp_path / "tensorboard").is_dir()


@pytest.mark.parametrize(
    "more",
    [
        {
            "rule": {"_target_": "monai_semiseg.hebbian.rules.SoftWinnerTakeAll"},
            "transposed": "per_tap",
        },
        {"rule": {"_target_": "monai_semiseg.hebbian.rules.SoftHebb"}},
        {"learns": False},
        {"shuffled": True},
        {"filter_lengths": "drawn"},
    ],
    ids=["SoftWinnerTakeAll", "SoftHebb", "calibration alone", "shuffled", "drawn lengths"],
)
def test_rules_and_controls_are_settings(
    pretrain: Pretrain, tmp_path: Path, more: dict[str, Any]
) -> None:
    default = pretrain(tmp_path / "a")
    other = pretrain(tmp_path / "b", **more)
    assert any(not torch.equal(default[key], other[key]) for key in default)
    assert (tmp_path / "b" / "filters.png").exists() == more.get("learns", True)
    assert all(torch.isfinite(value).all() for value in other.values())


def test_the_published_schedule_hardly_moves_the_filters(
    pretrain: Pretrain, tmp_path: Path
) -> None:
    random = pretrain(tmp_path / "random", learns=False, filter_lengths="learned")
    learnt = pretrain(tmp_path / "learnt", overlays=[BUNDLE / "configs" / "published.yaml"])
    filters = (weights["conv_0.conv_0.conv.weight"].flatten(1) for weights in (random, learnt))
    start, end = (rows / rows.norm(dim=1, keepdim=True) for rows in filters)
    # Four steps of Adam at a rate that begins at 1e-6 and is halved after each.
    assert 1e-7 < (end - start).abs().max() < 3e-6


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"exclude": ["final_cnv"]}, "did you mean 'final_conv'"),
        ({"transposed": "swop"}, "swap, per_tap"),
        ({"sections": ["nowhere"]}, "no image"),
        ({"filter_lengths": "long"}, "calibrated, drawn, learned"),
    ],
    ids=str,
)
def test_bad_settings_end_before_any_work(
    pretrain: Pretrain, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(RuntimeError) as caught:
        pretrain(tmp_path, **more)
    cause = root_cause(caught.value)
    assert isinstance(cause, ConfigError) and words in str(cause)
    assert not list(tmp_path.iterdir())


def test_training_is_the_baselines_but_for_where_it_starts(raw: Raw) -> None:
    for file in ("train", "evaluate", "inference", "multi_gpu_train"):
        ours, theirs = (raw(bundle, file) for bundle in (BUNDLE, BASELINES))
        different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
        assert different == ({"init_weights"} if file == "train" else set())


def test_shipped_weights_fill_a_stock_network() -> None:
    network = BasicUNet(3, 1, 3, [16, 16, 32, 64, 128, 16])
    network.load_state_dict(
        torch.load(BUNDLE / "models" / "initialized" / "model.pt", weights_only=True)
    )
    assert sum(file.stat().st_size for file in (BUNDLE / "models").rglob("*.pt")) <= 6 << 20
