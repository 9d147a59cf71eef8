"""The ``monai-semiseg`` command: parse, call one verb, turn errors into messages and exit codes."""

from __future__ import annotations

import argparse
import io
import os
import select as polling
import signal
import sys
from collections.abc import Sequence

from monai_semiseg import __version__
from monai_semiseg.bundles.command_line import begin_command
from monai_semiseg.cli import (
    bundle,
    check,
    collect,
    convert,
    demo,
    doctor,
    evaluate,
    export,
    plan,
    predict,
    pretrain,
    propose,
    review,
    select,
    split,
    study,
    train,
    weights,
)
from monai_semiseg.cli.terminal import say_aside
from monai_semiseg.cli.verbs import EXIT_CODES, describe, verb_name
from monai_semiseg.errors import SemisegError, root_cause

VERBS = (
    demo,
    check,
    select,
    split,
    convert,
    plan,
    pretrain,
    train,
    predict,
    propose,
    review,
    collect,
    evaluate,
    study,
    bundle,
    weights,
    export,
    doctor,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with one subcommand per verb."""
    parser = argparse.ArgumentParser(
        prog="monai-semiseg",
        description="Label-efficient segmentation with MONAI. "
        "Research use only, not a medical device.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"monai-semiseg {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for module in VERBS:
        name = verb_name(module)
        summary = describe(module)
        verb = verbs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    Args:
        argv: the words after the program's name; None takes this process's own, and only then is
            the process ours to set up.
    """
    if argv is None:
        begin_command()
    args = build_parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may be bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        say_aside("interrupted; what is finished is kept, run the same command again to go on")
        return 4
    except Exception as error:
        cause = root_cause(error)
        if args.debug or not isinstance(cause, SemisegError):
            raise
        say_aside(str(cause))
        return cause.exit_code


def _reader_has_gone() -> bool:
    """Return True if stdout is closed (``| head``); False if a worker's pipe broke."""
    watch = polling.poll()
    watch.register(sys.stdout, 0)  # errors are told whatever is asked for
    return bool(watch.poll(0))
