"""Arguments of the verbs whose work can be shared out: by what, and how often again."""

from __future__ import annotations

import argparse

from monai_semiseg.executors.choice import FORMS, RESUBMIT, ExecutorChoice, parse_executor


def add_executor_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what does the work."""
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
