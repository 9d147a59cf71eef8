"""What ``--network nnUNetPlans.json`` changes in a training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_semiseg.cli.dataset_arguments import dataset_of
from monai_semiseg.cli.terminal import say
from monai_semiseg.errors import ChannelError, ConfigError

if TYPE_CHECKING:
    from monai_semiseg.datasets.nnunet_dataset import NnunetDataset
    from monai_semiseg.datasets.nnunet_plans import NnunetPlans


@dataclass(frozen=True)
class NnunetTraining:
    """A training under the plans of nnU-Net.

    Attributes:
        args: of the verb, with datalist and plan where nnU-Net's folder stands for both.
        plans: of the network.
        dataset: channels and labels.
        overlays: configs to merge over the plan.
    """

    args: argparse.Namespace
    plans: NnunetPlans
    dataset: NnunetDataset
    overlays: list[Path]

    def write_weights(self) -> None:
        """Write the weights of a finished training for ``nnUNetv2_train``."""
        from monai_semiseg.networks.nnunet_checkpoint import PRETRAINED, write_pretrained
        from monai_semiseg.networks.weight_files import read_state_dict

        state = read_state_dict(self.args.output / "model.pt")
        channels = len(self.dataset.channel_names)
        path = write_pretrained(state, self.plans, channels, self.args.output / PRETRAINED)
        say(f"for nnU-Net: nnUNetv2_train ... -pretrained_weights {path}")


def nnunet_training(
    args: argparse.Namespace, config: Path, overlays: Sequence[Path]
) -> NnunetTraining | None:
    """Read the plans that ``--network`` names, and write the settings that they ask for.

    Args:
        args: of :func:`~monai_semiseg.cli.training.add_training_arguments`.
        config: that will be trained.
        overlays: files that will be merged over it.

    Returns:
        What changes; None if ``--network`` names no plans.

    Raises:
        ConfigError: If the plans, or ``dataset.json`` beside them, cannot be used.
        ChannelError: If the dataset has other channels, or another order.
    """
    from monai_semiseg.bundles.keys import merge_configs
    from monai_semiseg.datasets.nnunet_dataset import read_nnunet_dataset
    from monai_semiseg.datasets.nnunet_plans import read_plans, split_configuration
    from monai_semiseg.images.nnunet_preprocessed import preprocessed_files
    from monai_semiseg.networks.nnunet_checkpoint import require_channels
    from monai_semiseg.networks.nnunet_settings import training_settings

    if not _names_plans(args.network):
        return None
    file, configuration = split_configuration(args.network)
    plans = read_plans(file, configuration)
    dataset = read_nnunet_dataset(file.parent / "dataset.json")
    require_channels(plans, dataset, file)
    images = preprocessed_files(args.dataset) if args.dataset.is_dir() else []
    if not images:
        _require_same_channels(args, dataset)
    content = merge_configs([config, *overlays, *args.config], {})
    if images and "LabelReader" in json.dumps(content):
        raise ConfigError(
            "images that nnU-Net preprocessed can only be used without labels",
            expected="a dataset with its labels, such as the one that nnU-Net preprocessed",
            path=args.dataset,
        )
    settings = training_settings(plans, dataset, content, preprocessed=bool(images))
    overlay = _write(args.output / "nnunet.json", _unless_asked(settings, args.config))
    changed = {**vars(args), "network": None}
    if images:
        changed |= {"plan": overlay, "datalist": _datalist(args.output, images, dataset)}
    files = [] if images else [overlay]
    return NnunetTraining(argparse.Namespace(**changed), plans, dataset, files)


def _unless_asked(settings: dict[str, Any], asked: Sequence[Path]) -> dict[str, Any]:
    """Leave out what ``--config`` sets; lists of transforms hold its own already."""
    from monai_semiseg.bundles.keys import load_config

    given = {key for file in asked for key in load_config(file)}
    return {key: value for key, value in settings.items() if "#" in key or key not in given}


def _names_plans(network: str | None) -> bool:
    from monai_semiseg.datasets.nnunet_plans import split_configuration

    return network is not None and split_configuration(network)[0].suffix in (".json", ".pkl")


def _require_same_channels(args: argparse.Namespace, dataset: NnunetDataset) -> None:
    """Refuse a dataset whose channels the plans do not normalise, before any work."""
    found = dataset_of(args, table=args.table).channel_names
    wanted = dataset.channel_names
    is_reordered = list(found) != list(wanted) and sorted(found) == sorted(wanted)
    if (found and len(found) != len(wanted)) or is_reordered:
        raise ChannelError(
            f"channels {', '.join(found)}",
            expected=f"{', '.join(wanted)}: those of the plans' dataset.json, in this order",
            remedy=f"--channels {','.join(wanted)}",
            path=args.dataset,
        )


def _write(path: Path, content: object) -> Path:
    from monai_semiseg.storage.files import write_atomically

    return write_atomically(path, json.dumps(content, indent=1) + "\n")


def _datalist(output: Path, images: list[Path], dataset: NnunetDataset) -> Path:
    """Write a datalist of preprocessed images, all without a label."""
    unlabeled = [{"image": file.name} for file in images]
    names = list(dataset.channel_names)
    content = {"channel_names": names, "training": [], "unlabeled": unlabeled}
    return _write(output / "datalist.json", content)
