"""Arguments of the verbs whose work can be shared out: by what, and how often again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from monai_semiseg.executors.choice import FORMS, RESUBMIT, ExecutorChoice, parse_executor


class _Replaced(argparse.Action):
    """Option of an earlier version, which says what to write instead."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.error(f"{self.option_strings[0]} is gone: {self.const}; see docs/cluster.md")


_INSTEAD = {
    "--jobs": "--executor local:N runs N cells at a time",
    "--shard": "one command with --executor local:N, slurm or dask shares the work out",
}


def add_executor_arguments(parser: argparse.ArgumentParser, replaced: Sequence[str] = ()) -> None:
    """Declare what does the work.

    Args:
        parser: of the verb.
        replaced: options that the verb had before.
    """
    for name in replaced:
        help_ = argparse.SUPPRESS
        parser.add_argument(name, action=_Replaced, const=_INSTEAD[name], help=help_)
    group = parser.add_argument_group("who does the work")
    group.add_argument(
        "--executor",
        default="local:1",
        metavar="NAME",
        help=f"{FORMS}: N processes here (local without N: one for each GPU), jobs of SLURM, or "
        "workers of Dask; default local:1; docs/cluster.md",
    )
    group.add_argument(
        "--resubmit",
        type=int,
        default=RESUBMIT,
        metavar="N",
        help=f"how often work is begun again whose worker was lost (default {RESUBMIT})",
    )


def executor_of(args: argparse.Namespace) -> ExecutorChoice:
    """Return what the arguments of :func:`add_executor_arguments` ask for.

    Raises:
        ConfigError: If there is no such executor, or its package is not installed.
    """
    return parse_executor(args.executor, args.resubmit)
