"""Checkpoints of nnU-Net, read and written."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_semiseg.datasets.nnunet_plans import read_plans
from monai_semiseg.errors import CheckpointError, ConfigError
from monai_semiseg.networks.nnunet import nnunet_network
from monai_semiseg.networks.nnunet_checkpoint import (
    nnunet_folder,
    nnunet_weights,
    open_nnunet_model,
    write_pretrained,
)
from tests.nnunet_builders import architecture, plans_content, write_checkpoint, write_folder

pytest.importorskip("nnunetv2")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return nnunet_network(architecture(), 1, 2)


@pytest.fixture
def folder(tmp_path: Path, network: nn.Module) -> Path:
    write_folder(tmp_path)
    write_checkpoint(tmp_path, network.state_dict())
    return tmp_path


def test_a_folder_is_a_model(folder: Path) -> None:
    model = open_nnunet_model(folder)
    assert model.weights == folder / "fold_0" / "checkpoint_final.pth"
    assert model.mirror_axes == (0, 1, 2)
    assert model.plans.configuration == "3d_fullres"
    assert nnunet_folder(f"{folder}:0") == (folder, "0")
    assert nnunet_folder(folder) == (folder, None)
    assert nnunet_folder(folder / "fold_0") is None
    assert nnunet_weights(folder) == nnunet_weights(f"{folder}:0") == model.weights
    assert nnunet_weights("a/model.pt") == Path("a/model.pt")


def test_a_fold_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"no fold '3'(.|\n)*one of the folds 0"):
        open_nnunet_model(folder, "3")
    (folder / "fold_1").mkdir()
    with pytest.raises(ConfigError, match=r"fold '1' has no checkpoint_final\.pth"):
        open_nnunet_model(folder, "1")


def test_weights_of_another_network_are_refused_with_five_of_them(folder: Path) -> None:
    other = nnunet_network(architecture("ResidualEncoderUNet"), 1, 2).state_dict()
    write_checkpoint(folder, other)
    with pytest.raises(CheckpointError, match=r"(\d+) tensors do not fit") as caught:
        open_nnunet_model(folder)
    own = nnunet_network(architecture(), 1, 2).state_dict()
    misfits = len(own.keys() ^ other.keys())
    misfits += sum(own[name].shape != other[name].shape for name in own.keys() & other.keys())
    assert caught.value.found.startswith(f"{misfits} tensors")
    assert caught.value.found.count(";") == 4


class _Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_never_loaded(
    folder: Path, tmp_path: Path, network: nn.Module
) -> None:
    trap = tmp_path / "trap"
    write_checkpoint(folder, network.state_dict(), logging=_Code(trap))
    with pytest.raises(CheckpointError, match="code in weights is never run"):
        open_nnunet_model(folder)
    assert not trap.exists()
    pickle.loads(pickle.dumps(_Code(trap)))
    assert trap.exists()  # it would have


def test_truncated_weights_are_refused(folder: Path) -> None:
    file = folder / "fold_0" / "checkpoint_final.pth"
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match=r"checkpoint_final\.pth"):
        open_nnunet_model(folder)


def test_a_checkpoint_of_another_program_is_refused(folder: Path, network: nn.Module) -> None:
    torch.save(network.state_dict(), folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(CheckpointError, match="no checkpoint of nnU-Net v2"):
        open_nnunet_model(folder)


def test_plans_of_other_channels_are_refused(folder: Path) -> None:
    write_folder(folder, plans_content(channels=2))
    with pytest.raises(ConfigError, match=r"dataset\.json names 1 channels, the plans have 2"):
        open_nnunet_model(folder)


@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("dims", [2, 3])
def test_pretrained_weights_are_those_that_nnunet_loads(
    tmp_path: Path, kind: str, dims: int
) -> None:
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    content = plans_content(channels=3)
    name = {2: "2d", 3: "3d_fullres"}[dims]
    content["configurations"][name]["architecture"] = architecture(kind, dims)
    plans = read_plans(write_folder(tmp_path, content), name)
    ours = nnunet_network(plans.architecture, 3, 2)
    file = write_pretrained(ours.state_dict(), plans, 3, tmp_path / "nnunet_pretrained.pth")

    theirs = nnunet_network(plans.architecture, 3, 5)  # other classes
    load_pretrained_weights(theirs, str(file))
    loaded = theirs.state_dict()
    assert all(
        torch.equal(value, loaded[key])
        for key, value in ours.state_dict().items()
        if ".seg_layers." not in key
    )
    written = torch.load(file, weights_only=True)
    _check_adaptation_plan(written["nnssl_adaptation_plan"], written["network_weights"], kind)


def _check_adaptation_plan(plan: dict[str, Any], weights: dict[str, Tensor], kind: str) -> None:
    """Look up what later versions of nnU-Net look up."""
    assert plan["architecture_plans"]["arch_class_name"] == kind
    assert plan["pretrain_num_input_channels"] == 3
    (pretraining,) = plan["pretrain_plan"]["configurations"].values()
    assert pretraining["patch_size"] == plan["recommended_downstream_patchsize"]
    assert len(pretraining["spacing"]) == len(pretraining["patch_size"])
    assert plan["key_to_lpe"] is None
    for key in (plan["key_to_encoder"], plan["key_to_stem"]):
        assert any(name.startswith(f"{key}.") for name in weights)
    for key in plan["keys_to_in_proj"]:
        assert weights[f"{key}.weight"].shape[1] == 3


def test_weights_of_other_plans_are_not_written(tmp_path: Path, network: nn.Module) -> None:
    plans = read_plans(write_folder(tmp_path), "2d")
    with pytest.raises(CheckpointError, match="do not fit"):
        write_pretrained(network.state_dict(), plans, 1, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
