"""Compare methods at several label budgets on your dataset; write tables, a curve, an answer."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from monai_semiseg.cli.dataset_arguments import add_dataset_arguments, dataset_of, labelled_dataset
from monai_semiseg.cli.executors import add_executor_arguments, executor_of
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.study_settings import grid_of, settings_of_study
from monai_semiseg.cli.terminal import say, say_aside

if TYPE_CHECKING:
    from monai_semiseg.executors.choice import ExecutorChoice
    from monai_semiseg.study.cell import CellSpec
    from monai_semiseg.study.learning_rates import RateSearch
    from monai_semiseg.study.runner import RunOutcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the study; run again to go on"
    )
    parser.add_argument(
        "--bundle",
        default="semisupervised_baselines",
        help="name or folder of a bundle (default semisupervised_baselines)",
    )
    _add_arms(parser)
    _add_scans(parser)
    _add_trainings(parser)
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
    _add_running(parser)
    add_executor_arguments(parser, replaced=["--jobs", "--shard"])
    add_dataset_arguments(parser)


def _add_arms(parser: argparse.ArgumentParser) -> None:
    """Declare what is compared."""
    parser.add_argument(
        "--methods", help="comma-separated: supervised, and names of configs/methods/*.yaml"
    )
    parser.add_argument(
        "--initialisations", help="comma-separated: random, NAME=WEIGHTS (default random)"
    )


def _add_scans(parser: argparse.ArgumentParser) -> None:
    """Declare which scans are labelled, validate and test."""
    parser.add_argument("--labelled", help="comma-separated counts, fractions below 1, or all")
    parser.add_argument(
        "--splits", help="comma-separated seeds that select the labelled scans (default 0,1,2)"
    )
    parser.add_argument(
        "--selections",
        help="comma-separated strategies of monai-semiseg select, in place of --splits: each is "
        "compared with random draws of as many scans",
    )
    parser.add_argument("--draws", type=int, help="random draws for --selections (default 10)")
    parser.add_argument(
        "--test", help="test scans: count, fraction, or pattern such as 'testA_*' (default 0.2)"
    )
    parser.add_argument(
        "--next",
        type=int,
        metavar="N",
        help="labels to come, whose gain is estimated (default: half of the largest budget)",
    )
    parser.add_argument(
        "--validation",
        help="share of the labelled scans for validation (default auto: 0 below 10, else 0.1)",
    )


def _add_trainings(parser: argparse.ArgumentParser) -> None:
    """Declare how long and at which rate every cell is trained, and the gates."""
    parser.add_argument("--seeds", help="comma-separated seeds of the trainings (default 0)")
    parser.add_argument("--budget", type=int, help="iterations of every training (default 1500)")
    parser.add_argument(
        "--learning_rates",
        help="comma-separated: each arm takes the best in cross-validation among the labelled "
        "(default: the bundle's)",
    )
    parser.add_argument("--folds", help="of this cross-validation (default 3)")
    parser.add_argument(
        "--gates",
        action="store_true",
        default=None,
        help="add what tells whether the table can rank methods: all labels, twice the iterations",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    """Declare where the cells run, and whether they do."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument(
        "--dry_run", action="store_true", help="list the cells and what they will take"
    )
    parser.add_argument(
        "--report", action="store_true", help="write the results of what is finished; start nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, then write the results of all that is."""
    from monai_semiseg.datasets.grids import without_grid_mismatches
    from monai_semiseg.inference.interrupt import handled
    from monai_semiseg.study.cell import prepare_cells
    from monai_semiseg.study.learning_rates import rate_searches, with_chosen_rates
    from monai_semiseg.study.outcome import CellOutcome
    from monai_semiseg.study.report import write_results
    from monai_semiseg.study.runner import RunOutcome

    executor = executor_of(args)
    asked = settings_of_study(args)
    found = labelled_dataset(args, dataset_of(args, table=args.table))
    dataset, left_out = without_grid_mismatches(found)
    code = report_left_out(left_out)
    grid = grid_of(args, asked, dataset)
    specs = prepare_cells(grid, grid.cells, device=args.device, dataset=dataset)
    searches = rate_searches(grid, specs)
    _import_completed(args, specs, searches)
    if args.dry_run:
        return _list(specs, searches)
    outcome = RunOutcome()
    with handled(signal.default_int_handler, signal.SIGTERM):  # as Ctrl-C
        if not args.report:
            outcome = _run(executor, grid.output / "logs", specs, searches)
        known, waiting = with_chosen_rates(specs, searches)
        unfinished = [spec for spec in waiting if not CellOutcome(spec).done]
        say(write_results(grid, [*known, *unfinished], searches).rstrip("\n"))
    for cell in outcome.elsewhere:
        say_aside(f"another process works on {cell}")
    for spec in waiting:
        say_aside(f"waits for its learning rate: {spec.name}")
    for cell, (reason, log) in outcome.failed.items():
        say_aside(f"failed: {cell}: {reason} ({log})")
    return 3 if outcome.failed else code


def _run(
    executor: ExecutorChoice,
    logs: Path,
    specs: list[CellSpec],
    searches: dict[str, RateSearch],
) -> RunOutcome:
    """Run the trials of learning rates first, then the cells whose rates are known by then."""
    from monai_semiseg.study.learning_rates import open_trials, with_chosen_rates
    from monai_semiseg.study.runner import run_cells

    tried = run_cells(open_trials(specs, searches), executor=executor, logs=logs)
    known, _ = with_chosen_rates(specs, searches)
    outcome = run_cells(known, executor=executor, logs=logs)
    outcome.failed = {**tried.failed, **outcome.failed}
    outcome.elsewhere = [*tried.elsewhere, *outcome.elsewhere]
    return outcome


def _import_completed(
    args: argparse.Namespace, specs: list[CellSpec], searches: dict[str, RateSearch]
) -> None:
    """Import the learning rates and the results of earlier studies."""
    from monai_semiseg.study.completed_runs import import_choices, import_completed_runs
    from monai_semiseg.study.learning_rates import with_chosen_rates

    for source in args.completed:
        if searches:
            chosen = import_choices(searches, source)
            say_aside(f"{chosen} choices of learning rates imported from {source}")
        imported = import_completed_runs(with_chosen_rates(specs, searches)[0], source)
        say_aside(f"results of {imported} cells imported from {source}")


def _list(specs: list[CellSpec], searches: dict[str, RateSearch]) -> int:
    """List every cell and its progress, and estimate the time of those that are not finished."""
    from monai_semiseg.study.learning_rates import open_trials, with_chosen_rates
    from monai_semiseg.study.outcome import CellOutcome, seconds_left

    trials = open_trials(specs, searches)
    known, waiting = with_chosen_rates(specs, searches)
    everything = [*trials, *known, *waiting]
    outcomes = [CellOutcome(spec) for spec in everything]
    for outcome in outcomes:
        spec = outcome.spec
        say(f"{spec.name}: {outcome.progress()} of {spec.iterations} iterations")
    seconds = seconds_left(everything)
    estimate = "no estimate before a cell is finished"
    if seconds is not None:
        estimate = f"about {seconds / 3600:.1f} hours"
    left = sum(not outcome.done for outcome in outcomes[len(trials) :])
    before = sum(not outcome.done for outcome in outcomes[: len(trials)])
    first = f"{before} trainings that compare learning rates, then " if before else ""
    say(f"{first}{left} of {len(specs)} cells to do; {estimate}, one at a time")
    return 0
