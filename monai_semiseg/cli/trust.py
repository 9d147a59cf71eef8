"""Question whether a bundle's code may run, for every verb that opens any bundle."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monai_semiseg.cli.terminal import say_aside

if TYPE_CHECKING:
    from monai_semiseg.cli.arguments import Model


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Declare that the code of a foreign bundle may run."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the code in the configs of a bundle that is not ours",
    )


def require_trusted(model: Model, *, trusted: bool) -> None:
    """Name the foreign code in an inference config, and refuse it unless it is trusted.

    Raises:
        ConfigError: If there is any, and nobody trusts it.
    """
    from monai_semiseg.bundles.foreign_code import foreign_code, require_trust

    configs = [model.bundle / "configs" / "inference.json", *model.overlays]
    if not configs[0].is_file():
        return
    code = foreign_code(configs)
    for line in code:
        say_aside(f"foreign code: {line}")
    if not trusted:
        require_trust(code, model.bundle)
