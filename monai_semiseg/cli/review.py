"""Look at the masks of a folder run in the browser, and accept or reject them with keys."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.terminal import say

if TYPE_CHECKING:
    from monai_semiseg.labelling.review_cases import Review


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
        "--table",
        type=Path,
        metavar="FILE",
        help="open no page: write a table of the images, with the accepted masks as labels, for "
        "split and train",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="of the loopback address (default: a free one)"
    )
    parser.add_argument(
        "--no_browser", action="store_true", help="open no browser; the address is shown only"
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, or write the table; 3 if the table lacks a case."""
    from monai_semiseg.labelling.decisions import FILE_NAME
    from monai_semiseg.labelling.review_cases import open_review

    code = 0
    with open_review(args.masks, args.input) as review:
        if args.table is None:
            _serve(review, args)
        else:
            code = _write_table(review, args.table)
        counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in review.counts().items())
        say(f"{counts}; {args.masks / FILE_NAME}")
    return code


def _serve(review: Review, args: argparse.Namespace) -> None:
    import webbrowser

    from monai_semiseg.labelling.review_server import ReviewServer

    with ReviewServer(review, args.port) as server, suppress(KeyboardInterrupt):  # its end
        say(f"{len(review.cases)} masks: {server.url}")
        say("Keep the address to yourself: who knows it sees the images. Ctrl-C ends.")
        sys.stdout.flush()
        if not args.no_browser:
            webbrowser.open(server.url)
        server.serve_forever()


def _write_table(review: Review, path: Path) -> int:
    from monai_semiseg.labelling.accepted import write_accepted

    code = report_left_out(write_accepted(review, path))
    say(f"{path}: images, with the accepted masks as labels")
    return code
