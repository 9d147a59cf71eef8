"""Choose which scans to label first; write a table and a picture."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from monai_semiseg.cli.arguments import Model, add_bundle_arguments, model_of
from monai_semiseg.cli.dataset_arguments import add_dataset_arguments, dataset_of, labelled_dataset
from monai_semiseg.cli.executors import add_executor_arguments, executor_of
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.terminal import say, say_aside
from monai_semiseg.cli.trust import add_trust_argument, require_trusted
from monai_semiseg.errors import ConfigError
from monai_semiseg.plain_text import counted

if TYPE_CHECKING:
    from monai_semiseg.datasets.dataset import ScanDataset
    from monai_semiseg.executors.choice import ExecutorChoice
    from monai_semiseg.labelling.features import Encoder
    from monai_semiseg.labelling.selection import Doubt, Selection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--count", type=int, required=True, help="scans to choose")
    parser.add_argument(
        "--already",
        type=Path,
        metavar="DATALIST",
        help="datalist with the scans that have a label (default: those with a label file)",
    )
    parser.add_argument(
        "--strategy",
        default="random",
        help="random (default), kmedoids, proportional, typiclust, cscs, farthest_first; with "
        "--weights of a training uncertainty, disagreement",
    )
    parser.add_argument(
        "--encoder",
        type=Path,
        metavar="FILE",
        help="TorchScript module that makes numbers of an image (default: coarse intensities, or "
        "with --weights or --bundle the network's bottleneck)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    parser.add_argument("--workers", type=int, default=4, help="threads of one process (default 4)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("to_label.csv"),
        help="table (default to_label.csv); a picture of the same name lies beside it",
    )
    add_executor_arguments(parser)
    add_dataset_arguments(parser, what="dataset folder, or a table of cases (.csv)")
    add_bundle_arguments(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Choose, write table and picture; return 3 if a scan could not be read."""
    from monai_semiseg.datasets.datalist import load_datalist
    from monai_semiseg.labelling.selection import select
    from monai_semiseg.labelling.selection_picture import draw_selection
    from monai_semiseg.labelling.selection_table import write_selection
    from monai_semiseg.labelling.strategies import strategy_named

    has_model = args.weights is not None or args.bundle is not None
    strategy_named(args.strategy, has_model=has_model)
    if args.output.suffix != ".csv":
        raise ConfigError(f"--output {args.output}", expected="a name that ends with .csv")
    executor = executor_of(args)
    already = load_datalist(args.already) if args.already else None
    dataset = labelled_dataset(args, dataset_of(args, table=args.table), already)
    selection = select(
        dataset,
        args.count,
        strategy=args.strategy,
        already=already,
        encoder=_encoder(args),
        doubt=_doubt(args, dataset, executor),
        seed=args.seed,
        workers=args.workers,
        executor=None if executor.in_process else executor,
        logs=_logs(args),
    )
    write_selection(selection, dataset, args.output)
    picture = draw_selection(selection, dataset, args.output.with_suffix(".png"))
    return _report(args, dataset, selection, picture)


def _report(
    args: argparse.Namespace, dataset: ScanDataset, selection: Selection, picture: Path
) -> int:
    unread = {name: selection.apart[name] for name in selection.unread}
    code = report_left_out({**dataset.problems, **unread})
    for name, reason in selection.apart.items():
        if name not in unread:
            say_aside(f"set apart: {name}: {reason}")
    if selection.duplicates:
        name, kept = next(iter(selection.duplicates.items()))
        say_aside(f"{len(selection.duplicates)} near duplicates, such as {name} of {kept}")
    if len(selection.chosen) < args.count:
        say_aside(f"only {len(selection.chosen)} of {args.count} cases are fit to be labelled")
        code = 3
    ids = ", ".join(one.case.id for one in selection.chosen[:8])
    more = ", ..." if len(selection.chosen) > 8 else ""
    say(f"{counted(len(selection.chosen), 'cases')} to label ({selection.strategy}): {ids}{more}")
    say(f"{args.output}, {picture}")
    return code


def _encoder(args: argparse.Namespace) -> Encoder | None:
    """Return the user's encoder, or else the bottleneck of a network that was named."""
    if args.encoder is not None:
        from monai_semiseg.cli.arguments import checked_device
        from monai_semiseg.labelling.encoders import ScriptEncoder

        device = "cpu" if args.device == "auto" else checked_device(args.device)
        return ScriptEncoder(args.encoder, device)
    if args.weights is None and args.bundle is None:
        return None
    from monai_semiseg.labelling.encoders import BundleEncoder

    model = _model(args)
    return BundleEncoder(model.bundle, model.settings, model.overlays)


def _model(args: argparse.Namespace) -> Model:
    model = model_of(args, "inference")
    require_trusted(model, trusted=args.trust)
    return model


def _logs(args: argparse.Namespace) -> Path:
    """Return the folder of the workers' logs: beside the table."""
    output: Path = args.output
    return output.with_suffix(".logs")


def _doubt(
    args: argparse.Namespace, dataset: ScanDataset, executor: ExecutorChoice
) -> Doubt | None:
    """Return what a trained model doubts, for the strategies that ask it."""
    from monai_semiseg.labelling.strategies import DISAGREEMENT, UNCERTAINTY

    if args.strategy not in (UNCERTAINTY, DISAGREEMENT):
        return None
    from monai_semiseg.labelling.doubt_team import DoubtRecipe, doubt_by_team

    model = _model(args)
    if args.strategy == DISAGREEMENT and args.already is None:
        raise ConfigError(
            "--strategy disagreement registers labels, and no labelled scan is given",
            expected="--already DATALIST with the labelled scans under training",
        )
    datalist = args.already if args.strategy == DISAGREEMENT else None
    recipe = DoubtRecipe(model.bundle, model.settings, model.overlays, dataset.root, datalist)
    opened = recipe.model()  # what does not fit is refused before any scan is read
    return opened if executor.in_process else partial(doubt_by_team, recipe, executor, _logs(args))
