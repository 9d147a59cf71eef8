"""Train a bundle's network on a dataset, with labels alone or with unlabelled scans as well."""

from __future__ import annotations

import argparse

from monai_semiseg.cli.training import add_training_arguments, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--bundle",
        default="semisupervised_baselines",
        help="name or folder of a bundle (default semisupervised_baselines)",
    )
    parser.add_argument(
        "--method", default="supervised", help="name of a file in configs/methods, or supervised"
    )
    add_training_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, and name the weights; return 3 if cases were left out."""
    from monai_semiseg.bundles.locate import bundle_folder, method_overlay

    bundle = bundle_folder(args.bundle)
    method = method_overlay(bundle, args.method)
    overlays = [] if method is None else [method]
    return train(args, bundle / "configs" / "train.json", overlays)
