"""Strategies of ``select`` against random draws, by a proxy that needs no training.

Every test scan gets the mask of the labelled scan that it is most like. The data set needs a label
for each scan; labels are read to measure, and no strategy sees them.
"""

from __future__ import annotations

import argparse
import sys

from monai_semiseg.benchmarks.measure import add_output, announce, as_markdown, write_measured
from monai_semiseg.cli.arguments import number_or_text
from monai_semiseg.cli.dataset_arguments import add_dataset_arguments, dataset_of, labelled_dataset
from monai_semiseg.labelling.proxy import compare_by_proxy, mask_dice
from monai_semiseg.labelling.readings import read_all
from monai_semiseg.labelling.strategies import COLD, DEFAULT


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_dataset_arguments(parser)
    parser.add_argument("--labelled", default="2,4,8", help="comma-separated budgets")
    parser.add_argument("--draws", type=int, default=50, help="random draws")
    parser.add_argument("--divisions", type=int, default=10, help="into test scans and others")
    parser.add_argument("--test", type=number_or_text, default=0.2, help="test scans, as split's")
    add_output(parser)
    args = parser.parse_args()
    dataset = labelled_dataset(args, dataset_of(args, table=args.table))
    announce(0.02 * len(dataset.cases) + 0.5 * args.divisions)
    readings = read_all(dataset, dataset.cases)
    scores = compare_by_proxy(
        dataset,
        readings,
        mask_dice(dataset, dataset.cases),
        [name for name in COLD if name != DEFAULT],
        [int(budget) for budget in args.labelled.split(",")],
        draws=args.draws,
        divisions=args.divisions,
        test=args.test,
    )
    rows = [
        {
            "dataset": dataset.name,
            "labelled": one.labelled,
            "strategy": one.strategy,
            "dice": f"{one.dice:.4f}",
            "random": f"{one.draws_mean:.4f} ± {one.draws_std:.4f}",
            "draws beaten": f"{one.beaten:.0%}",
        }
        for one in scores
    ]
    write_measured(rows, args.output / f"selection_proxy_{dataset.name}.csv")
    sys.stdout.write(as_markdown(rows))


if __name__ == "__main__":
    main()
