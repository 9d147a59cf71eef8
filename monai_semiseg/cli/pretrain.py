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
        "no labels)",
    )
    add_training_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Pretrain, and name the weights; return 3 if cases were left out."""
    from monai_semiseg.bundles.locate import bundle_folder

    bundle = bundle_folder(args.bundle)
    return train(args, _config(bundle, args.stage, args.network is not None), [])


def _config(bundle: Path, stage: str | None, named: bool) -> Path:
    """Return the config of a stage; None takes the one without labels.

    Args:
        bundle: its folder.
        stage: as asked for.
        named: a network is asked for, so that a stage which trains another one is no default.
    """
    from monai_semiseg.bundles.keys import load_config

    files = sorted((bundle / "configs").glob("pretrain*.json"))
    names = [f"pretrain_{stage}"]
    if stage is None:
        names = ["pretrain", "pretrain_global", "pretrain_denoising"]
        files = [file for file in files if not named or "network_def" in load_config(file)]
    found = next((file for name in names for file in files if file.stem == name), None)
    if found is None:
        stages = [file.stem.removeprefix("pretrain").lstrip("_") for file in files]
        raise ConfigError(
            f"no stage {stage!r}" if stage else "no stage before the training",
            expected=f"one of {', '.join(filter(None, stages))}"
            if any(stages)
            else "another bundle",
            path=bundle,
        )
    return found
