"""Take masks that came back from labellers as labels, measured, into a datalist."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from monai_semiseg.cli.dataset_arguments import dataset_of, labelled_dataset
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.terminal import say
from monai_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from monai_semiseg.datasets.dataset import ScanDataset
    from monai_semiseg.labelling.tasks import TaskFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("tasks", type=Path, help="folder of tasks, as propose wrote it")
    parser.add_argument(
        "--into",
        type=Path,
        required=True,
        metavar="DATALIST|DATASET",
        help="the split, or the dataset, that the cases are from",
    )
    parser.add_argument(
        "--output", type=Path, help="datalist to write (default TASKS/datalist.json)"
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        help="dataset folder, where it has moved since the tasks were made",
    )
    parser.add_argument(
        "--returned", type=Path, help="folder with the masks that came back (default: TASKS)"
    )
    parser.add_argument(
        "--labels", type=Path, help="folder for the label files (default TASKS/labels)"
    )
    parser.add_argument(
        "--accept_unchanged",
        action="store_true",
        help="take proposals that nobody changed as labels, too",
    )


def run(args: argparse.Namespace) -> int:
    """Collect, and say what became of the cases; return 3 if some failed."""
    from monai_semiseg.datasets.dataset import folder_of
    from monai_semiseg.labelling.collect import Collector
    from monai_semiseg.labelling.collected_report import summary_text, write_collected
    from monai_semiseg.labelling.target import target_of
    from monai_semiseg.labelling.tasks import load_tasks

    tasks = load_tasks(args.tasks)
    if args.returned is not None and not args.returned.is_dir():
        raise ConfigError("no such folder", expected="masks that came back", path=args.returned)
    is_datalist = args.into.suffix.lower() == ".json"
    dataset = None if is_datalist else _dataset(args.into, tasks)
    root = tasks.dataset if args.dataset is None else folder_of(args.dataset)
    target = target_of(args.into, dataset, root, tasks.labels)
    collector = Collector(
        tasks,
        target,
        returned=args.returned,
        labels=args.labels,
        accept_unchanged=args.accept_unchanged,
    )
    output = args.output or args.tasks / "datalist.json"
    found = collector.run(output)
    report = write_collected(found, tasks)
    say(f"{summary_text(found, tasks)}\n{output}, {report}")
    return report_left_out(found.failed)


def _dataset(path: Path, tasks: TaskFolder) -> ScanDataset:
    """Open a dataset with the options that the tasks were made with."""
    args = argparse.Namespace(dataset=path, **tasks.layout)
    return labelled_dataset(args, dataset_of(args, table=args.table))
