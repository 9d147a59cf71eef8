"""Checkpoints of nnU-Net: folders of trained models are read, starts for trainings are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_semiseg.datasets.nnunet_dataset import NnunetDataset, read_nnunet_dataset
from monai_semiseg.datasets.nnunet_plans import NnunetPlans, read_plans
from monai_semiseg.errors import CheckpointError, ConfigError
from monai_semiseg.networks.inflation import shape_text
from monai_semiseg.networks.nnunet import nnunet_network
from monai_semiseg.networks.weight_files import read_checkpoint, save_atomically

PRETRAINED = "nnunet_pretrained.pth"
_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_HEADS = ".seg_layers."  # what nnU-Net leaves out of pretrained weights
_SHOWN = 5


@dataclass(frozen=True)
class NnunetModel:
    """A trained model of nnU-Net.

    Attributes:
        weights: its checkpoint.
        plans: with the configuration that it was trained with.
        dataset: its channels and labels.
        mirror_axes: spatial axes that prediction may mirror.
    """

    weights: Path
    plans: NnunetPlans
    dataset: NnunetDataset
    mirror_axes: tuple[int, ...]


def nnunet_folder(path: str | Path) -> tuple[Path, str | None] | None:
    """Return the folder of a trained model and the fold; None if the path is no such folder.

    Args:
        path: ``FOLDER`` or ``FOLDER:FOLD``, with ``plans.json`` in the folder.
    """
    name, colon, fold = str(path).rpartition(":")
    for folder, chosen in ((Path(path), None), (Path(name), fold)):
        if (chosen is None or colon) and (folder / "plans.json").is_file():
            return folder, chosen
    return None


def nnunet_weights(path: str | Path) -> Path:
    """Return the checkpoint of a trained model's folder; any other path as it is.

    Args:
        path: ``FOLDER`` or ``FOLDER:FOLD``. Without a fold, the first that is there is taken.

    Raises:
        ConfigError: If the folder has no such fold, or the fold has no checkpoint.
    """
    found = nnunet_folder(path)
    return Path(path) if found is None else _checkpoint(*found)


def _checkpoint(folder: Path, fold: str | None) -> Path:
    folds = sorted(child.name.removeprefix("fold_") for child in folder.glob("fold_*"))
    chosen = fold if fold is not None else next(iter(folds), "0")
    files = [folder / f"fold_{chosen}" / name for name in _CHECKPOINTS]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise ConfigError(
            f"fold {chosen!r} has no {_CHECKPOINTS[0]}"
            if chosen in folds
            else f"no fold {chosen!r}",
            expected=f"one of the folds {', '.join(folds)}" if folds else "fold_0",
            remedy="finish its training with nnUNetv2_train, or name another FOLDER:FOLD",
            path=folder,
        )
    return file


def open_nnunet_model(folder: Path, fold: str | None = None) -> NnunetModel:
    """Read a trained model of nnU-Net, and require that its weights fit its plans.

    Args:
        folder: holds ``plans.json``, ``dataset.json`` and ``fold_X/checkpoint_final.pth``.
        fold: a number or ``all``; by default the first that is there.

    Raises:
        ConfigError: If a file is absent or of another version, or the network is another one.
        CheckpointError: If the checkpoint is damaged, holds code, or does not fit.
    """
    weights = _checkpoint(folder, fold)
    checkpoint = read_checkpoint(weights)
    configuration = _configuration(checkpoint, weights)
    plans = read_plans(folder / "plans.json", configuration)
    dataset = read_nnunet_dataset(folder / "dataset.json")
    require_channels(plans, dataset, folder)
    with torch.device("meta"):
        network = nnunet_network(
            plans.architecture, len(dataset.channel_names), dataset.out_channels
        )
    require_fit(network, checkpoint["network_weights"], weights)
    axes = checkpoint.get("inference_allowed_mirroring_axes") or ()
    return NnunetModel(weights, plans, dataset, tuple(int(axis) for axis in axes))


def _configuration(checkpoint: Mapping[str, Any], path: Path) -> str:
    arguments = checkpoint.get("init_args")
    name = arguments.get("configuration") if isinstance(arguments, dict) else None
    weights = checkpoint.get("network_weights")
    is_state = isinstance(weights, dict) and all(isinstance(v, Tensor) for v in weights.values())
    if not isinstance(name, str) or not is_state:
        keys = ", ".join(list(checkpoint)[:_SHOWN])
        raise CheckpointError(
            f"no checkpoint of nnU-Net v2; it holds {keys}",
            expected="network_weights and init_args, as nnUNetv2_train writes them",
            path=path,
        )
    return name


def require_channels(plans: NnunetPlans, dataset: NnunetDataset, path: Path) -> None:
    """Require that the plans normalise as many channels as ``dataset.json`` names.

    Raises:
        ConfigError: If the numbers differ.
    """
    if len(dataset.channel_names) != plans.in_channels:
        raise ConfigError(
            f"dataset.json names {len(dataset.channel_names)} channels, the plans have "
            f"{plans.in_channels}",
            expected="plans of this dataset",
            path=path,
        )


def require_fit(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Require that weights have the names and shapes of a network.

    Raises:
        CheckpointError: With the first five that do not fit, and how many they are.
    """
    own = network.state_dict()
    lacking = [f"{name} is missing" for name in own if name not in state]
    other = [
        f"{name} is {shape_text(state[name])}, not {shape_text(own[name])}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    more = [f"{name} is not in the network" for name in state if name not in own]
    wrong = [*lacking, *other, *more]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} tensors do not fit the plans' network, the first are: "
            f"{'; '.join(wrong[:_SHOWN])}",
            expected=f"the {len(own)} tensors of this network",
            remedy="use the plans.json that the weights were trained with",
            path=path,
        )


def write_pretrained(
    state: Mapping[str, Tensor], plans: NnunetPlans, in_channels: int, path: Path
) -> Path:
    """Write weights that ``nnUNetv2_train -pretrained_weights`` takes.

    nnU-Net copies every tensor under ``network_weights`` but the heads (``.seg_layers.``).
    ``nnssl_adaptation_plan`` is for ``nnUNetv2_plan_like_dynamic`` and
    ``nnUNetv2_preprocess_like_nnssl`` of later versions. The file holds tensors and plain values
    alone, so that ``weights_only=True`` reads it.

    Args:
        state: tensors of the plans' network.
        plans: that the network was built from.
        in_channels: of the images.
        path: file to write.

    Raises:
        CheckpointError: If the tensors are not those of the plans' network.
        OutputError: If the file cannot be written.
    """
    with torch.device("meta"):
        network = nnunet_network(plans.architecture, in_channels, _outputs(state))
    require_fit(network, state, path)
    weights = {name: value.detach().cpu() for name, value in state.items()}
    plan = adaptation_plan(plans, network, in_channels)
    save_atomically({"network_weights": weights, "nnssl_adaptation_plan": plan}, path)
    return path


def _outputs(state: Mapping[str, Tensor]) -> int:
    return next((len(value) for name, value in state.items() if _HEADS in name), 1)


def adaptation_plan(plans: NnunetPlans, network: nn.Module, in_channels: int) -> dict[str, Any]:
    """Return ``nnssl_adaptation_plan``: what nnU-Net has to know about pretrained weights."""
    architecture = plans.architecture
    keys = ("key_to_encoder", "key_to_stem", "key_to_lpe")
    pretraining = {"patch_size": plans.patch_size, "spacing": plans.spacing}
    return {
        "architecture_plans": {
            "arch_class_name": architecture["network_class_name"].rsplit(".", 1)[-1],
            "arch_kwargs": architecture["arch_kwargs"],
            "arch_kwargs_requiring_import": list(architecture["_kw_requires_import"]),
        },
        "pretrain_plan": {"configurations": {plans.configuration: pretraining}},
        "pretrain_num_input_channels": in_channels,
        "recommended_downstream_patchsize": plans.patch_size,
        **{key: getattr(network, key, None) for key in keys},
        "keys_to_in_proj": list(getattr(network, "keys_to_in_proj", ())),
    }
