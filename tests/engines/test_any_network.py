"""Every stage without labels on every kind of network, and the table in docs/networks.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from monai.engines import Trainer
from torch import Tensor, nn

from monai_semiseg.engines import ContrastTrainer, DenoisingTrainer, SupervisedContrastTrainer
from monai_semiseg.engines.hebbian import HebbianTrainer
from monai_semiseg.handlers.learnt import LearntWeights
from monai_semiseg.hebbian.geometry import CONVOLUTIONS
from monai_semiseg.hebbian.learner import HebbianLearner
from monai_semiseg.hebbian.rules import HebbianPCA
from monai_semiseg.losses.contrastive import GlobalContrast, LocalContrast
from monai_semiseg.networks.embedding import Embedder
from monai_semiseg.networks.learnt import Learnt, percent
from tests.network_zoo import CLASSES, NETWORKS, build, patch_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"
STAGES = ("hebbian", "global", "local", "denoising")
CASES = [(name, dims) for name in NETWORKS for dims in (2, 3)]


def batch(patch: list[int]) -> dict[str, Tensor]:
    """Make two views of two noisy images with labels in halves."""
    generator = torch.Generator().manual_seed(0)
    label = torch.zeros(2, 1, *patch)
    label[:, :, : patch[0] // 2] = 1
    image = label + 0.5 * torch.randn(label.shape, generator=generator)
    second = label + 0.5 * torch.randn(label.shape, generator=generator)
    return {
        "image": image,
        "second": second,
        "clean": label,
        "label": label,
        "second_label": label,
    }


def trainer(stage: str, network: nn.Module, patch: list[int], handlers: list[object]) -> Trainer:
    """Build the trainer of a stage as its config does, for one step."""
    shared = {
        "device": torch.device("cpu"),
        "max_epochs": 1,
        "epoch_length": 1,
        "train_data_loader": [batch(patch)],
        "train_handlers": handlers,
    }
    if stage == "hebbian":
        learner = HebbianLearner(network, HebbianPCA())
        return HebbianTrainer(
            network=network,
            learner=learner,
            filter_lengths="learned",
            **shared,  # type: ignore[arg-type]
        )
    embedder = Embedder(
        network,
        spatial_dims=len(patch),
        pooled=stage == "global",
        dimension=1 if stage == "denoising" else 8,
        patch_size=patch,
    )
    shared["network"] = embedder
    shared["optimizer"] = torch.optim.AdamW(embedder.parameters(), 1e-3)
    if stage == "denoising":
        return DenoisingTrainer(**shared)
    if stage == "global":
        return ContrastTrainer(loss_function=GlobalContrast(0.5), **shared)
    return SupervisedContrastTrainer(loss_function=LocalContrast(0.1, stride=4), **shared)


def learnt_by(stage: str, name: str, dims: int) -> Learnt:
    """Take one step of a stage, and return what it changed."""
    network = build(name, dims)
    handler = LearntWeights(network)
    trainer(stage, network, patch_of(name, dims), [handler]).run()
    assert all(value.isfinite().all() for value in network.state_dict().values())
    assert handler.learnt is not None
    return handler.learnt


@pytest.fixture(scope="module")
def learnt() -> dict[tuple[str, int, str], Learnt]:
    """Return what every stage learns in every network, 2-D and 3-D."""
    torch.set_num_threads(1)
    return {
        (name, dims, stage): learnt_by(stage, name, dims)
        for name, dims in CASES
        for stage in STAGES
    }


@pytest.mark.slow
def test_the_table_in_the_docs(learnt: dict[tuple[str, int, str], Learnt]) -> None:
    rows = [
        f"| {name} | {dims}-D | "
        + " | ".join(percent(learnt[name, dims, stage].share) for stage in STAGES)
        + f" | {kept(learnt, name, dims)} |"
        for name, dims in CASES
    ]
    shown = [
        line for line in PAGE.read_text().splitlines() if re.match(r"\| \w+ \| [23]-D \|", line)
    ]
    assert shown == rows, "\n".join(["put this into docs/networks.md:", *rows])


def kept(learnt: dict[tuple[str, int, str], Learnt], name: str, dims: int) -> str:
    """Name the modules with weights that no stage learns; a star stands for a number."""
    never = set.intersection(*(set(learnt[name, dims, stage].stayed) for stage in STAGES))
    modules = {re.sub(r"\.\d+(?=\.|$)", ".*", tensor.rpartition(".")[0]) for tensor in never}
    return ", ".join(f"`{module}`" for module in sorted(modules)) or "none"


@pytest.mark.slow
def test_hebbian_rules_learn_the_convolutions_and_nothing_else(
    learnt: dict[tuple[str, int, str], Learnt],
) -> None:
    for name, dims in CASES:
        network = build(name, dims)
        kinds = {f"{key}.weight": module for key, module in network.named_modules()}
        changed = learnt[name, dims, "hebbian"].changed
        weights = [key for key in changed if key.endswith(".weight")]
        assert weights and all(isinstance(kinds[key], CONVOLUTIONS) for key in weights)
        still = [
            key
            for key in learnt[name, dims, "hebbian"].stayed
            if isinstance(kinds.get(key), CONVOLUTIONS)
        ]
        assert all(kinds[key].out_channels == CLASSES or "_conv_head" in key for key in still)


@pytest.mark.slow
def test_what_back_propagation_leaves_is_after_the_features(
    learnt: dict[tuple[str, int, str], Learnt],
) -> None:
    def weights(stage: str, name: str, dims: int) -> set[str]:
        """Leave biases out: some have no gradient in a first step."""
        return {key for key in learnt[name, dims, stage].changed if key.endswith("weight")}

    for name, dims in CASES:
        everything = weights("denoising", name, dims)
        assert everything == weights("local", name, dims)
        assert weights("global", name, dims) < everything
