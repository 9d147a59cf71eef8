"""Measure in nnU-Net's own trainer what starts are worth that were made here without labels.

Each cell is a number of labels, a split and a start. nnU-Net plans and preprocesses the labelled
training cases of the split; the start is pretrained in the plans' network on the images of all
training cases, labelled or not; nnU-Net's trainer trains from it on all labelled cases; the last
checkpoint is measured on the test cases. The same command goes on after a kill: steps that are done
are not done again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from monai_semiseg.benchmarks.nnunet_cells import (
    NONE,
    STARTS,
    Lengths,
    Planning,
    StartCell,
    arms_of,
    start_cells,
)
from monai_semiseg.benchmarks.nnunet_steps import prepare_nnunet, start_commands
from monai_semiseg.cli.arguments import checked_device, number_or_text, repeated
from monai_semiseg.cli.dataset_arguments import (
    DATASET_ARGUMENTS,
    add_dataset_arguments,
    dataset_of,
    labelled_dataset,
)
from monai_semiseg.cli.executors import add_executor_arguments, executor_of
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.terminal import say, say_aside
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.nnunet_files import nnunet_module
from monai_semiseg.datasets.valid_cases import valid_cases
from monai_semiseg.errors import SemisegError
from monai_semiseg.inference.interrupt import handled
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.study.arms import Arm
from monai_semiseg.study.cell_work import CellWork
from monai_semiseg.study.grid import Grid, make_grid
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.provenance import package_code
from monai_semiseg.study.report import versions
from monai_semiseg.study.results import read_rows, summarise
from monai_semiseg.study.runner import run_cells
from monai_semiseg.study.tables import as_markdown, write_rows, write_summary


def run(args: argparse.Namespace) -> int:
    """Run all cells that are not done, then write and print the results of those that are.

    Returns:
        The exit code: 3 if a cell failed, or cases of the dataset were left out.

    Raises:
        ConfigError: Before any work, if nnU-Net is not installed or an argument cannot be.
    """
    nnunet_module("nnunetv2")
    planning = Planning(args.configuration, args.gpu_memory_target)
    arms = _arms(args, planning)
    device = args.device if args.device == "auto" else checked_device(args.device)
    executor = executor_of(args)
    valid = valid_cases(labelled_dataset(args, dataset_of(args, table=args.table)))
    code = report_left_out(valid.left_out, valid.notes)
    dataset = replace(valid.dataset, labels=valid.labels)
    grid = _grid(args, dataset, arms)
    specs = start_cells(grid, dataset, device)
    work = CellWork(device, partial(start_commands, layout=repeated(args, DATASET_ARGUMENTS)))
    with handled(signal.default_int_handler, signal.SIGTERM):  # as Ctrl-C
        for spec in {one.nnunet: one for one in specs}.values():
            prepare_nnunet(spec, dataset, planning)
        outcome = run_cells(specs, logs=grid.output / "logs", executor=executor, work=work)
    say(write_results(grid, specs, vars(args)).rstrip("\n"))
    for cell, (reason, log) in outcome.failed.items():
        say_aside(f"failed: {cell}: {reason} ({log})")
    return 3 if outcome.failed else code


def _arms(args: argparse.Namespace, planning: Planning) -> list[Arm]:
    lengths = Lengths(args.iterations, args.epochs, args.start_iterations)
    return arms_of(
        _items(args.starts),
        lengths,
        planning,
        pretrain=args.pretrain,
        disable_tta=args.disable_tta,
    )


def _grid(args: argparse.Namespace, dataset: ScanDataset, arms: Sequence[Arm]) -> Grid:
    return make_grid(
        dataset,
        args.output,
        arms,
        labelled=_items(args.labelled),
        splits=_items(args.splits),
        seeds=_items(args.seeds),
        test=args.test,
        iterations=args.iterations,
        validation=0,
    )


def write_results(grid: Grid, specs: Sequence[StartCell], asked: dict[str, Any]) -> str:
    """Write results, summary and ``protocol.json``; return the table.

    ``results.csv`` has all scores, ``summary.csv`` and ``summary.md`` a row for each number of
    labels and start, in the order in which the starts were asked for.

    Args:
        grid: the comparison.
        specs: its cells.
        asked: arguments of the command.
    """
    write_protocol(grid, specs, asked)
    rows = read_rows(specs)
    if not rows:
        return "no cell is finished\n"
    starts = [arm.name for arm in grid.arms]
    summaries = sorted(summarise(rows, NONE), key=lambda one: (one.labelled, starts.index(one.arm)))
    write_rows(rows, grid.output / "results.csv")
    write_summary(summaries, grid.output, reference=NONE)
    return as_markdown(summaries, NONE)


def write_protocol(grid: Grid, specs: Sequence[StartCell], asked: dict[str, Any]) -> None:
    """Write versions, settings, what nnU-Net planned, and the state of each cell."""
    packages = ("nnunetv2", "dynamic-network-architectures", "batchgeneratorsv2")
    plans = {spec.datalist.parent.name: spec.prepared for spec in specs}
    content = {
        "versions": versions() | {name: importlib.metadata.version(name) for name in packages},
        "code": {"package": package_code(), "benchmarks": package_code(Path(__file__).parent)},
        "dataset": grid.dataset.name,
        "settings": {key: asked[key] for key in asked if key not in ("dataset", "output")},
        "starts": {arm.name: STARTS[arm.name] or "drawn by nnU-Net" for arm in grid.arms},
        "plans": plans,
        "cells": {spec.cell.id: _facts(spec) for spec in specs},
    }
    write_atomically(
        grid.output / "protocol.json", json.dumps(content, indent=1, default=str) + "\n"
    )


def _facts(spec: StartCell) -> dict[str, Any]:
    outcome = CellOutcome(spec)
    return {**spec.identity(), **(outcome.read() if outcome.done else {"status": "not finished"})}


def _items(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_dataset_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder; run again to go on")
    parser.add_argument("--labelled", default="4,20", help="comma-separated counts (default 4,20)")
    parser.add_argument("--splits", default="0,1", help="comma-separated seeds (default 0,1)")
    parser.add_argument("--seeds", default="0", help="of the trainings (default 0)")
    parser.add_argument(
        "--test", type=number_or_text, default=0.2, help="test scans, as split takes them"
    )
    parser.add_argument(
        "--starts", default=",".join(STARTS), help=f"comma-separated (default {','.join(STARTS)})"
    )
    parser.add_argument(
        "--iterations", type=int, default=250, help="of nnU-Net's trainer (default 250)"
    )
    parser.add_argument(
        "--epochs", type=int, default=10, help="steps of its learning rate (default 10)"
    )
    parser.add_argument(
        "--start_iterations", type=int, default=200, help="that make a start (default 200)"
    )
    parser.add_argument(
        "--pretrain",
        default="",
        metavar="WORDS",
        help="further words for pretrain, in quotes: --pretrain='--set num_workers=0'",
    )
    parser.add_argument("--configuration", help="of nnU-Net's plans (default 3d_fullres, or 2d)")
    parser.add_argument("--gpu_memory_target", type=float, help="of nnU-Net's planner, in GB")
    parser.add_argument(
        "--disable_tta", action="store_true", help="predict without mirroring, as nnU-Net's option"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="nnU-Net takes the first GPU of CUDA_VISIBLE_DEVICES (default auto)",
    )
    add_executor_arguments(parser)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the comparison; return the exit code that a verb of the command line would."""
    args = _arguments(words)
    try:
        return run(args)
    except KeyboardInterrupt:
        say_aside("interrupted; what is finished is kept, run the same command again to go on")
        return 4
    except SemisegError as error:
        say_aside(str(error))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
