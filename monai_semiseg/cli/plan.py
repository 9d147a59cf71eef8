"""Measure a dataset and write the settings that fit it, as a YAML for any bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semiseg.cli.terminal import say, say_aside


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("dataset", type=Path, help="dataset folder")
    parser.add_argument(
        "--datalist", type=Path, help="measure its training scans only; do this where results count"
    )
    parser.add_argument(
        "--memory", type=float, help="GiB that training may use (default: half of what is free)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("plan.yaml"), help="file (default plan.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, plan and show the plan."""
    from monai_semiseg.datasets.dataset import open_dataset
    from monai_semiseg.datasets.fingerprint import measure
    from monai_semiseg.datasets.plan import plan, write_plan
    from monai_semiseg.datasets.split import load_datalist

    datalist = load_datalist(args.datalist) if args.datalist else None
    fingerprint = measure(open_dataset(args.dataset), datalist)
    for case, reason in fingerprint.unread.items():
        say_aside(f"left out: {case}: {reason}")
    settings = plan(fingerprint, memory=int(args.memory * 2**30) if args.memory else None)
    write_plan(settings, args.output, source=args.dataset.resolve().name)
    say(args.output.read_text().rstrip())
    return 0
