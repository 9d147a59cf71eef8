"""Write the bundles' configs from ``bundles/_base``: ``python -m monai_semiseg.bundles render``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_semiseg.bundles.render import render


def main() -> None:
    """Render and name the files that changed."""
    parser = argparse.ArgumentParser(prog="python -m monai_semiseg.bundles")
    parser.add_argument("action", choices=["render"])
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="default bundles")
    args = parser.parse_args()
    written = render(args.bundles)
    sys.stdout.writelines(f"{path}\n" for path in written)
    sys.stdout.write(f"{len(written)} files changed\n")


if __name__ == "__main__":
    main()
