"""Look at the masks of a folder run in the browser, and accept or reject them with keys."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_semiseg.cli.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("masks", type=Path, help="output folder of monai-semiseg predict")
    parser.add_argument(
        "--input",
        type=Path,
        nargs="+",
        default=[],
        help="files, folders or archives of the images, if they have moved since the run",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="of the loopback address (default: a free one)"
    )
    parser.add_argument(
        "--no_browser", action="store_true", help="open no browser; the address is shown only"
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, and say how many masks are decided."""
    import webbrowser

    from monai_semiseg.labelling.decisions import FILE_NAME
    from monai_semiseg.labelling.review_cases import open_review
    from monai_semiseg.labelling.review_server import ReviewServer

    with open_review(args.masks, args.input) as review:
        with ReviewServer(review, args.port) as server:
            say(f"{len(review.cases)} masks: {server.url}")
            say("Keep the address to yourself: who knows it sees the images. Ctrl-C ends.")
            sys.stdout.flush()
            if not args.no_browser:
                webbrowser.open(server.url)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                say("")
        counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in review.counts().items())
        say(f"{counts}; {args.masks / FILE_NAME}")
    return 0
