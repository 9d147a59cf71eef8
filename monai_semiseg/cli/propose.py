"""Write a model's masks of chosen cases as tasks for 3D Slicer, ITK-SNAP, OHIF, CVAT or napari."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semiseg.cli import predict
from monai_semiseg.cli.arguments import add_bundle_arguments
from monai_semiseg.cli.dataset_arguments import (
    DATASET_ARGUMENTS,
    add_dataset_arguments,
    dataset_of,
    labelled_dataset,
)
from monai_semiseg.cli.executors import add_executor_arguments
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.terminal import say
from monai_semiseg.cli.trust import add_trust_argument
from monai_semiseg.labelling.task_formats import FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--cases",
        metavar="TABLE|IDS|N",
        help="a table with a column id (as select writes), ids with commas between, or a number: "
        "of the unlabelled cases, those whose correction teaches most (default: all unlabelled)",
    )
    parser.add_argument("--datalist", type=Path, help="split that says who is not labelled")
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        default="seg.nrrd",
        help="seg.nrrd (default): 3D Slicer; nifti: ITK-SNAP; dicom_seg: OHIF; png: CVAT, napari",
    )
    parser.add_argument("--output", type=Path, required=True, help="new folder of tasks")
    add_trust_argument(parser)
    add_executor_arguments(parser)
    add_dataset_arguments(parser, what="dataset folder, or a table of cases (.csv)")
    add_bundle_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Segment the cases and write the tasks; return 3 if some failed."""
    from monai_semiseg.cli.arguments import model_of
    from monai_semiseg.datasets.datalist import load_datalist
    from monai_semiseg.inference.zoo import has_runner
    from monai_semiseg.labelling.chosen import choose
    from monai_semiseg.labelling.hand_out import hand_out
    from monai_semiseg.labelling.proposal import begin

    datalist = load_datalist(args.datalist) if args.datalist else None
    dataset = labelled_dataset(args, dataset_of(args, table=args.table), datalist)
    chosen = choose(dataset, args.cases, datalist)
    model = model_of(args, "inference")
    layout = {name: getattr(args, name) for name in DATASET_ARGUMENTS}
    layout["table"] = None if args.table is None else str(args.table.resolve())
    proposal = begin(
        args.output,
        dataset,
        chosen.cases,
        format=args.format,
        most=chosen.most,
        layout=layout,
    )
    asked = ["--output", str(proposal.masks), "--no_preview"]
    asked += ["--uncertainty"] if has_runner(model.bundle) else []
    asked += ["--trust"] if args.trust else []
    settings = predict_arguments([str(proposal.scans), *asked], args)
    tasks = hand_out(proposal, predict.segment(settings, model))
    say(f"{args.output}: {len(tasks.tasks)} tasks, {len(proposal.failed)} failed; tasks.csv")
    numbers = ", ".join(f"{value} {name}" for value, name in sorted(tasks.names.items()))
    say(f"numbers in the masks: {numbers}")
    notes = [f"{case}: {text}" for case, text in proposal.remarks.items()]
    return report_left_out(proposal.failed, notes)


def predict_arguments(words: list[str], args: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments of ``predict``, with those that both verbs have as they are here."""
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    asked = parser.parse_args(words)
    shared = ("bundle", "weights", "plan", "config", "settings", "device", "executor", "resubmit")
    for name in shared:
        setattr(asked, name, getattr(args, name))
    return asked
