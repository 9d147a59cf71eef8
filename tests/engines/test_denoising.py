"""Denoising pretraining: the loss, and a stock network that starts from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet

from monai_semiseg.bundles.workflow import open_workflow, run_workflow
from monai_semiseg.engines import DenoisingTrainer
from monai_semiseg.networks.embedding import Embedder

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "diffusion_cotrainer"
FEATURES = [4, 4, 6, 6, 8, 5]


@pytest.mark.parametrize(("dims", "channels"), [(2, 3), (3, 1), (3, 4)])
def test_the_loss_is_the_mean_squared_difference_to_the_clean_image(
    dims: int, channels: int
) -> None:
    torch.manual_seed(0)
    network = BasicUNet(dims, channels, 2, FEATURES)
    embedder = Embedder(network, "upcat_1", 5, dims, pooled=False, dimension=channels)
    trainer = DenoisingTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        epoch_length=1,
        train_data_loader=[],
        network=embedder,
        optimizer=torch.optim.SGD(embedder.parameters(), 0.1),
    )
    clean = torch.rand(2, channels, *[32] * dims)
    noisy = clean + torch.randn_like(clean)
    found, further = trainer.losses({"image": noisy, "clean": clean})
    with torch.no_grad():
        restored = embedder(noisy)
    total = sum(
        (float(a) - float(b)) ** 2 for a, b in zip(restored.flatten(), clean.flatten(), strict=True)
    )
    assert float(found) == pytest.approx(total / clean.numel(), rel=1e-5)
    assert further is None
    found.backward()
    learnt = {name for name, value in network.named_parameters() if value.grad is not None}
    assert {name for name, _ in network.named_parameters()} - learnt == {
        "final_conv.weight",
        "final_conv.bias",
    }, "all but the last layer learns"


def test_the_stage_damages_images_and_writes_a_stock_network(
    write_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data", sizes=(2, 2, 1))
    settings: dict[str, Any] = {
        "dataset_dir": str(data),
        "datalist": str(data / "datalist.json"),
        "ckpt_dir": str(tmp_path / "out"),
        "output_dir": str(tmp_path / "out"),
        "device": "$torch.device('cpu')",
        "patch_size": [32, 32, 32],
        "network_def#features": FEATURES,
        "channels": 5,
        "num_workers": 0,
        "iterations": 2,
        "noise": 0.5,
    }
    workflow = open_workflow(BUNDLE, "pretrain_denoising", settings)
    workflow.initialize()
    sample = workflow.parser.get_parsed_content("train#samples")[0]
    damage = sample["image"] - sample["clean"]
    erased = sample["image"] == 0
    assert "label" not in sample
    assert 0.02 < float(erased.float().mean()) < 0.5
    assert 0.05 < float(damage[~erased].std()) < 1.0
    run_workflow(BUNDLE, "pretrain_denoising", settings)
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    BasicUNet(3, 1, 3, FEATURES).load_state_dict(state)
