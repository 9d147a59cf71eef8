"""Measure a dataset and write the settings that fit it, as a YAML for any bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semiseg.cli.dataset_arguments import (
    add_dataset_arguments,
    add_plan_arguments,
    dataset_of,
    labelled_dataset,
    wishes_of,
)
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.overwriting import add_overwrite, write_output
from monai_semiseg.cli.terminal import say, say_aside


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--datalist", type=Path, help="measure its training scans only; do this where results count"
    )
    parser.add_argument(
        "--memory", type=float, help="GiB that training may use (default: half of what is free)"
    )
    add_plan_arguments(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("plan.yaml"), help="file (default plan.yaml)"
    )
    add_overwrite(parser)
    add_dataset_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, plan and show the plan; return 3 if cases were left out."""
    from monai_semiseg.datasets.datalist import load_datalist
    from monai_semiseg.datasets.fingerprint import extract_fingerprint
    from monai_semiseg.datasets.label_sections import known_label_scans, untrained_warnings
    from monai_semiseg.datasets.label_values import mapping_line
    from monai_semiseg.datasets.plan import decisions, plan, plan_text

    datalist = load_datalist(args.datalist) if args.datalist else None
    dataset = labelled_dataset(args, dataset_of(args, table=args.table), datalist)
    fingerprint = extract_fingerprint(dataset, datalist)
    # A datalist names its scans; what else lies in the folder is not asked for.
    left_out = fingerprint.unread | (dataset.problems if datalist is None else {})
    code = report_left_out(left_out, fingerprint.notes)
    if line := mapping_line(fingerprint.labels):
        say_aside(line)
    known = known_label_scans(datalist or {})
    for line in untrained_warnings(fingerprint.labels, fingerprint.label_scans, known):
        say_aside(line)
    memory = int(args.memory * 2**30) if args.memory else None
    wishes = wishes_of(args)
    settings = plan(fingerprint, wishes, memory=memory)
    decided = decisions(fingerprint, wishes)
    text = plan_text(settings, source=args.dataset.resolve().name, decided=decided)
    write_output(args.output, text, args.overwrite)
    say(text.rstrip())
    return code
