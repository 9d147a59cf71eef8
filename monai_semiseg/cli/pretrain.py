"""Pretrain a bundle's network, without labels where the bundle can, to start trainings from."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semiseg.cli.training import add_training_arguments, train
from monai_semiseg.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--bundle", required=True, help="name or folder of a bundle")
    parser.add_argument(
        "--stage",
        help="global, local or denoising, for a bundle with several (default: the first that needs "
        "no labels, and trains the network of --network)",
    )
    add_training_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Pretrain, and name the weights; return 3 if cases were left out."""
    from monai_semiseg.bundles.locate import bundle_folder

    config = _config(bundle_folder(args.bundle), args.stage, other_network=args.network is not None)
    return train(args, config, [])


def _config(bundle: Path, stage: str | None, *, other_network: bool) -> Path:
    """Return the config of a stage; None takes the first without labels.

    With another network it is the first that trains it: a diffusion teacher has its own networks.
    """
    from monai_semiseg.bundles.keys import load_config

    first = ["pretrain", "pretrain_global", "pretrain_denoising"]
    names = first if stage is None else [f"pretrain_{stage}"]
    files = sorted((bundle / "configs").glob("pretrain*.json"))
    if other_network:
        files = [file for file in files if "network_def" in load_config(file)]
    found = next((file for name in names for file in files if file.stem == name), None)
    if found is None:
        stages = [file.stem.removeprefix("pretrain").lstrip("_") for file in files]
        raise ConfigError(
            f"no stage {stage!r}" if stage else "the bundle has no pretraining stage",
            expected=f"one of {', '.join(filter(None, stages))}"
            if any(stages)
            else "another bundle",
            path=bundle,
        )
    return found
