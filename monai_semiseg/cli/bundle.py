"""Print the folder of a bundle, or the names and folders of all that are found."""

from __future__ import annotations

import argparse

from monai_semiseg.cli.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("name", nargs="?", help="name of a bundle (default: list all)")


def run(args: argparse.Namespace) -> int:
    """Print it alone on a line, absolute, for ``--bundle_root "$(monai-semiseg bundle NAME)"``."""
    from monai_semiseg.bundles.locate import bundle_folder, known_bundles

    if args.name is None:
        say("\n".join(f"{name:26} {folder.resolve()}" for name, folder in known_bundles().items()))
    else:
        say(str(bundle_folder(args.name).resolve()))
    return 0
