"""Compare methods at several label budgets on your dataset; write tables, a curve, an answer."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_semiseg.cli.arguments import add_label_arguments, labelled_dataset
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.terminal import say, say_aside
from monai_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from monai_semiseg.datasets.dataset import ScanDataset
    from monai_semiseg.study.cell import CellSpec
    from monai_semiseg.study.grid import Grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("dataset", type=Path, help="dataset folder")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the study; run again to go on"
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        default=Path("bundles/semisupervised_baselines"),
        help="bundle folder",
    )
    parser.add_argument(
        "--methods", help="comma-separated: supervised, and names of configs/methods/*.yaml"
    )
    parser.add_argument(
        "--initialisations", help="comma-separated: random, NAME=WEIGHTS (default random)"
    )
    parser.add_argument("--labelled", help="comma-separated counts, fractions below 1, or all")
    parser.add_argument("--seeds", help="comma-separated split seeds (default 0,1,2)")
    parser.add_argument("--test", type=float, help="test scans, count or fraction (default 0.2)")
    parser.add_argument("--budget", type=int, help="iterations of every training (default 1500)")
    parser.add_argument(
        "--config",
        type=Path,
        help="YAML with the same keys; arms: further arms; also: further cells",
    )
    parser.add_argument(
        "--completed",
        "--known",
        type=Path,
        action="append",
        default=[],
        help="folder of an earlier study: import the results of equal cells; repeatable",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time (default 1)")
    parser.add_argument(
        "--shard", help="i/n: this process takes every n-th cell (default: RANK or SLURM_PROCID)"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="list the cells and what they will take"
    )
    parser.add_argument(
        "--report", action="store_true", help="write the results of what is finished; start nothing"
    )
    add_label_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, then write the results of all that is."""
    from monai_semiseg.datasets.dataset import open_dataset
    from monai_semiseg.datasets.grids import without_grid_mismatches
    from monai_semiseg.inference.interrupt import handled
    from monai_semiseg.storage.shard import parse_shard, shard_of
    from monai_semiseg.study.cell import prepare_cells
    from monai_semiseg.study.completed_runs import import_completed_runs
    from monai_semiseg.study.report import write_results
    from monai_semiseg.study.runner import run_cells

    dataset, left_out = without_grid_mismatches(labelled_dataset(args, open_dataset(args.dataset)))
    code = report_left_out(left_out)
    grid = _grid(args, dataset)
    index, count = parse_shard(args.shard)
    specs = prepare_cells(grid, grid.cells, device=args.device, dataset=dataset)
    for source in args.completed:
        imported = import_completed_runs(specs, source)
        say_aside(f"results of {imported} cells imported from {source}")
    if args.dry_run:
        return _list(specs)
    mine = {cell.id for cell in shard_of(grid.cells, index, count)}
    with handled(signal.default_int_handler, signal.SIGTERM):  # as Ctrl-C
        outcome = run_cells(
            [spec for spec in specs if spec.cell.id in mine and not args.report], parallel=args.jobs
        )
        say(write_results(grid, specs).rstrip("\n"))
    for cell in outcome.elsewhere:
        say_aside(f"another process works on {cell}")
    for cell, reason in outcome.failed.items():
        say_aside(f"failed: {cell}: {reason} ({grid.output / 'cells' / cell / 'log.txt'})")
    return 3 if outcome.failed else code


def _grid(args: argparse.Namespace, dataset: ScanDataset) -> Grid:
    from monai_semiseg.study.arms import arms_from, arms_of_file
    from monai_semiseg.study.grid import make_grid, whole

    asked = _settings(args)
    arms = (
        arms_from(_items(asked["methods"]), _items(asked["initialisations"]), args.bundle)
        if asked["methods"]
        else []
    )
    arms += arms_of_file(asked["arms"], args.bundle)
    return make_grid(
        dataset,
        args.output,
        arms,
        labelled=_items(asked["labelled"]),
        seeds=_items(asked["seeds"]),
        test=float(asked["test"]),
        iterations=whole(asked["budget"]),
        also=_further(asked["also"]),
    )


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Defaults, the YAML over them, the command line over both."""
    import yaml

    asked: dict[str, Any] = {
        "methods": "",
        "initialisations": "random",
        "labelled": "",
        "seeds": "0,1,2",
        "test": 0.2,
        "budget": 1500,
        "arms": {},
        "also": [],
    }
    if args.config is not None:
        if not args.config.is_file():
            raise ConfigError(
                "no such file", expected="a YAML with the study's settings", path=args.config
            )
        content = yaml.safe_load(args.config.read_text())
        unknown = set(content) - set(asked) if isinstance(content, dict) else {"no mapping"}
        if unknown:
            raise ConfigError(
                f"unknown settings {sorted(unknown)}", expected=", ".join(asked), path=args.config
            )
        asked.update(content)
    asked.update({key: value for key in asked if (value := getattr(args, key, None)) is not None})
    return asked


def _further(given: Any) -> list[dict[str, list[str]]]:
    if not isinstance(given, list) or not all(isinstance(more, dict) for more in given):
        raise ConfigError(f"also: {given!r}", expected="a list of {arms, labelled, seeds}")
    return [{key: _items(value) for key, value in more.items()} for more in given]


def _items(value: Any) -> list[str]:
    """``a,b`` or a YAML list as strings."""
    parts = (
        value.split(",")
        if isinstance(value, str)
        else value
        if isinstance(value, list)
        else [value]
    )
    return [str(part).strip() for part in parts if str(part).strip()]


def _list(specs: list[CellSpec]) -> int:
    """List every cell and its progress, and estimate the time of those that are not finished."""
    from monai_semiseg.study.outcome import CellOutcome, seconds_left

    outcomes = [CellOutcome(spec) for spec in specs]
    for outcome in outcomes:
        spec = outcome.spec
        say(f"{spec.cell.id}: {outcome.progress()} of {spec.iterations} iterations")
    seconds = seconds_left(specs)
    estimate = "no estimate before a cell is finished"
    if seconds is not None:
        estimate = f"about {seconds / 3600:.1f} hours"
    left = sum(not outcome.done for outcome in outcomes)
    say(f"{left} of {len(specs)} cells to do; {estimate}, one at a time")
    return 0
