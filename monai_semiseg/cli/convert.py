"""Write a dataset in the layout of nnU-Net or of the Decathlon, with links where they do."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from monai_semiseg.cli.dataset_arguments import add_dataset_arguments, dataset_of, labelled_dataset
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.terminal import say
from monai_semiseg.plain_text import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--to", choices=("nnunet", "decathlon"), required=True, help="layout to write"
    )
    parser.add_argument("--output", type=Path, required=True, help="new folder")
    add_dataset_arguments(parser, what="dataset folder, or a table of cases (.csv)")


def run(args: argparse.Namespace) -> int:
    """Convert what is sound; return 3 if something was left out."""
    from monai_semiseg.datasets.convert import RECORD, convert, require_new_folder
    from monai_semiseg.datasets.valid_cases import valid_cases

    dataset = labelled_dataset(args, dataset_of(args, table=args.table))
    require_new_folder(dataset, args.output)
    valid = valid_cases(dataset)
    code = report_left_out(valid.left_out, valid.notes)
    sound = replace(valid.dataset, labels=valid.labels)
    convert(sound, args.to, args.output)
    labelled = sum(case.label is not None for case in sound.cases)
    say(
        f"{args.output}: {counted(len(sound.cases), 'cases')}, {labelled} with a label; "
        f"{RECORD} says which case and which label became which"
    )
    return code
