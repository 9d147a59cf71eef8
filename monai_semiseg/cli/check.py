"""Check a dataset: pairs, geometry, label values, empty labels, odd scans, duplicates, leaks."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from monai_semiseg.cli.dataset_arguments import add_dataset_arguments, dataset_of, labelled_dataset
from monai_semiseg.cli.executors import add_executor_arguments, executor_of
from monai_semiseg.cli.terminal import say
from monai_semiseg.errors import ConfigError
from monai_semiseg.plain_text import counted

if TYPE_CHECKING:
    from monai_semiseg.datasets.check_report import Finding
    from monai_semiseg.executors.choice import ExecutorChoice

_MOST_ROWS = 128  # label values on the screen
_MOST_ALIKE = 10  # findings of one kind on the screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--datalist",
        type=Path,
        help="a split of the dataset; doubles across its sections are leaks",
    )
    parser.add_argument("--output", type=Path, help="write the whole report as JSON")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="write a table of the cases that were found"
    )
    what = "folder of a data set in any layout, a table of cases (.csv), or one file"
    add_dataset_arguments(parser, what=what, table=False)
    parser.add_argument("--workers", type=int, default=4, help="threads of one process (default 4)")
    add_executor_arguments(parser)


@contextmanager
def _logs(args: argparse.Namespace, executor: ExecutorChoice) -> Iterator[Path]:
    """Yield a folder for the workers' logs: beside the report, else one that does not stay.

    Raises:
        ConfigError: If workers on other machines need it, and there is no report.
    """
    if args.output:
        yield args.output.with_suffix(".logs")
    elif executor.elsewhere:
        raise ConfigError(
            f"--executor {args.executor} without --output",
            expected="a report in a folder that all machines share; logs go beside it",
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def _finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each finding; of many of one kind the first ones, and how many follow."""
    from monai_semiseg.datasets.label_values import shortened

    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.level, finding.code), []).append(finding)
    for (level, code), alike in kinds.items():
        for finding in alike[:_MOST_ALIKE]:
            message = finding.message.removeprefix(f"{code} ")
            yield f"{level:8} {code:14} {finding.case:24} {message}"
        if others := alike[_MOST_ALIKE:]:
            cases = shortened([one.case for one in others if one.case]) or "files"
            more = f"{len(others)} more: {cases}; --output FILE writes all"
            yield f"{level:8} {code:14} {more}"


def run(args: argparse.Namespace) -> int:
    """Check, show a table, return 2 if there are errors."""
    from monai_semiseg.datasets.check import check_dataset
    from monai_semiseg.datasets.datalist import load_datalist
    from monai_semiseg.datasets.dataset import save_table
    from monai_semiseg.datasets.label_values import mapping_line
    from monai_semiseg.storage.files import write_atomically

    datalist = load_datalist(args.datalist) if args.datalist else None
    dataset = labelled_dataset(args, dataset_of(args), datalist)
    executor = executor_of(args)
    if executor.in_process:
        report = check_dataset(dataset, datalist, workers=args.workers)
    else:
        with _logs(args, executor) as logs:
            report = check_dataset(dataset, datalist, executor=executor, logs=logs)
    labelled = sum(bool(fact.labels) for fact in report.cases)
    say(f"{report.dataset.name}: {counted(len(report.cases), 'cases')}, {labelled} with a label")
    if kind := report.kind:
        say(kind)
    # Of label files that hold no classes, the error names values; a row for each would hide it.
    rows = report.label_rows() if labelled and report.fault is None else []
    for row in rows[:_MOST_ROWS]:
        say(
            f"label {row['value']:<5} {row['name']:24} {row['share']:8.3%} of the voxels, "
            f"in {row['scans']} of {labelled} labelled scans"
        )
    if len(rows) > _MOST_ROWS:
        say(f"... {len(rows) - _MOST_ROWS} more values; --output FILE writes all")
    odd = any(finding.code == "E_LABEL" for finding in report.errors)
    if labelled and not odd and (line := mapping_line(report.names)):
        say(line)
    for line in _finding_lines(report.findings):
        say(line)
    say(f"{len(report.errors)} errors, {len(report.findings) - len(report.errors)} warnings")
    if args.output:
        write_atomically(args.output, json.dumps(report.as_dict(), indent=1) + "\n")
    if args.table:
        cases = counted(len(report.dataset.cases), "cases")
        say(f"{save_table(report.dataset, args.table)}: {cases}")
    return 2 if report.errors else 0
