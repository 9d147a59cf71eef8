"""Decide who is labelled: write a datalist with labelled, unlabelled, validation and test scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semiseg.cli.arguments import number_or_text
from monai_semiseg.cli.dataset_arguments import add_dataset_arguments, dataset_of, labelled_dataset
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.overwriting import add_overwrite, write_output
from monai_semiseg.cli.terminal import say, say_aside
from monai_semiseg.plain_text import counted

_AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--labelled",
        type=labelled_budget,
        required=True,
        help="labelled scans for training and validation: a count, a fraction below 1, all, or a "
        "table of monai-semiseg select",
    )
    parser.add_argument(
        "--test",
        type=number_or_text,
        default=0.2,
        help="test scans: count, fraction, or a pattern of ids such as 'testA_*' (default 0.2)",
    )
    parser.add_argument(
        "--validation",
        type=number_or_text,
        default=_AUTO,
        help="share of the labelled scans for validation (default auto: 0 below 10 labelled scans, "
        "else 0.1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="which scans are labelled")
    parser.add_argument(
        "--test_seed", type=int, default=0, help="which scans are test, whatever the other options"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("datalist.json"), help="file (default datalist.json)"
    )
    add_overwrite(parser)
    add_dataset_arguments(parser, what="dataset folder, or a table of cases (.csv)")


def labelled_budget(text: str) -> float | Path | None:
    """Return a count or a fraction, or a table of scans; None for ``all``."""
    if text.endswith(".csv"):
        return Path(text)
    return None if text == "all" else float(text)


def run(args: argparse.Namespace) -> int:
    """Split what is sound and say what was written; return 3 if something was left out."""
    from monai_semiseg.datasets.datalist import SECTIONS, datalist_text
    from monai_semiseg.datasets.label_sections import section_scans, untrained_lines
    from monai_semiseg.datasets.split import SIDE, split
    from monai_semiseg.datasets.valid_cases import valid_cases
    from monai_semiseg.labelling.selection_table import read_selection

    chosen = read_selection(args.labelled) if isinstance(args.labelled, Path) else None
    valid = valid_cases(labelled_dataset(args, dataset_of(args, table=args.table)))
    code = report_left_out(valid.left_out, valid.notes)
    datalist = split(
        valid.dataset,
        labelled=None if chosen else args.labelled,
        chosen=chosen,
        test=args.test,
        validation=args.validation,
        seed=args.seed,
        test_seed=args.test_seed,
    )
    datalist["label_scans"] = section_scans(datalist, valid.voxels)
    for line in untrained_lines(datalist["label_scans"], valid.dataset.labels).values():
        say_aside(line)
    apart = datalist.get("left_out", {})
    if apart:
        cases = counted(len(apart), "cases")
        say_aside(f"left out: {cases}, each {SIDE} (the first is {next(iter(apart))})")
    if valid.left_out:
        datalist["left_out"] = {**apart, **valid.left_out}
    write_output(args.output, datalist_text(datalist), args.overwrite)
    counts = ", ".join(f"{len(datalist[section])} {section}" for section in SECTIONS)
    say(f"{args.output}: {counts}")
    return code
