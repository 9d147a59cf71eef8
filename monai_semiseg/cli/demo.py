"""Train, evaluate and segment on the shipped sample data, 3-D or 2-D, in minutes on a CPU."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from monai_semiseg.cli import check, evaluate, plan, predict, split, train
from monai_semiseg.cli.terminal import say
from monai_semiseg.cli.verbs import run_verb
from monai_semiseg.errors import ConfigError


@dataclass(frozen=True)
class SampleData:
    """Name what a demonstration runs on, and how long it trains.

    Attributes:
        dataset: folder of the dataset below ``sample_data``.
        scans: folder to segment below ``sample_data``.
        images: what the dataset's images are called.
        segmented: what the folder to segment holds.
        size: what the report measures.
        labelled: images with a label that training and validation see.
        iterations: optimiser steps.
    """

    dataset: str
    scans: str
    images: str
    segmented: str
    size: str
    labelled: int
    iterations: int


KINDS = {
    "3d": SampleData(
        "dataset", "scans", "scans", "NIfTI and DICOM scans", "volumes in mL", 12, 500
    ),
    "2d": SampleData(
        "photographs/dataset",
        "photographs/scans",
        "photographs",
        "PNG, JPEG and TIFF photographs",
        "areas in pixels",
        10,
        200,
    ),
    "contrasts": SampleData(
        "contrasts",
        "contrasts/imagesTr",
        "scans",
        "NIfTI scans, four contrasts each",
        "volumes in mL",
        6,
        300,
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--kind",
        choices=list(KINDS),
        default="3d",
        help="scans (3d, the default), colour photographs (2d), or scans with four contrasts",
    )
    parser.add_argument(
        "--output", type=Path, help="folder (default runs/demo, runs/demo_2d, runs/demo_contrasts)"
    )
    parser.add_argument("--labelled", type=float, help=f"labelled images ({_each('labelled')})")
    parser.add_argument("--iterations", type=int, help=f"training steps ({_each('iterations')})")
    parser.add_argument(
        "--root",
        type=Path,
        help="folder that holds sample_data/ and bundles/ (default: this clone)",
    )


def _each(number: str) -> str:
    """Return the default of every kind."""
    return "default " + ", ".join(
        f"{getattr(data, number)} for {kind}" for kind, data in KINDS.items()
    )


def run(args: argparse.Namespace) -> int:
    """Check, split, plan, train, evaluate, predict: the main job from end to end."""
    root = _root(args.root)
    data = KINDS[args.kind]
    dataset = str(root / "sample_data" / data.dataset)
    scans = str(root / "sample_data" / data.scans)
    suffix = "" if args.kind == "3d" else f"_{args.kind}"
    out = args.output or Path(f"runs/demo{suffix}")
    iterations = data.iterations if args.iterations is None else args.iterations
    labelled = data.labelled if args.labelled is None else args.labelled
    datalist = str(out / "datalist.json")
    plan_file = str(out / "plan.yaml")
    say(f"1/5 Checking the dataset and choosing which {data.images} are labelled")
    code = run_verb(check, [dataset])
    wanted = ["--labelled", f"{labelled:g}", "--output", datalist, "--overwrite"]
    code = code or run_verb(split, [dataset, *wanted])
    if code:
        return code
    say("2/5 Measuring the dataset")
    run_verb(plan, [dataset, "--datalist", datalist, "--output", plan_file, "--overwrite"])
    say(f"3/5 Training for {iterations} iterations")
    steps = ["--iterations", str(iterations)]
    steps += ["--set", f"epoch_iterations={min(50, iterations)}"]
    bundle = ["--bundle", str(root / "bundles" / "semisupervised_baselines")]
    where = ["--datalist", datalist, "--plan", plan_file, "--output", str(out), "--overwrite"]
    run_verb(train, [dataset, *bundle, *where, *steps])
    say(f"4/5 Evaluating on the test {data.images}")
    scores = ["--output", str(out / "evaluation"), "--weights", str(out)]
    run_verb(evaluate, [dataset, "--datalist", datalist, *scores])
    say(f"5/5 Segmenting a folder of {data.segmented}")
    masks = ["--output", str(out / "predictions"), "--overwrite", "--weights", str(out)]
    code = run_verb(predict, [scans, *masks])
    say(_ending(out, data.size))
    return code


def _ending(out: Path, size: str) -> str:
    masks = out / "predictions"
    previews = sorted(str(path) for path in masks.rglob("*_preview.*"))
    return (
        f"\nDone. Folder:   {out}\n"
        f"Table:          {out / 'evaluation' / 'metrics.csv'} (per case), "
        f"{masks / 'report.csv'} ({size})\n"
        f"Pictures:       {out / 'learning_curve.png'}, {out / 'evaluation' / 'worst_cases.png'}\n"
        f"                {', '.join(previews)}"
    )


def _root(given: Path | None) -> Path:
    """Return the clone: as given, the working folder, or where an editable install points to."""
    candidates = [given] if given else [Path.cwd(), Path(__file__).resolve().parents[2]]
    for root in candidates:
        if (root / "sample_data" / "dataset").is_dir() and (root / "bundles").is_dir():
            return root
    raise ConfigError(
        "no sample_data/ and bundles/ here",
        expected="a clone of the repository",
        remedy="run the command in the clone, or pass the clone with --root",
        path=candidates[0],
    )
