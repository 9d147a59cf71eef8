"""Train, evaluate and segment on the shipped sample data, in a few minutes on a CPU."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semiseg.cli import check, evaluate, plan, predict, split, train
from monai_semiseg.cli.terminal import say
from monai_semiseg.cli.verbs import run_verb
from monai_semiseg.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--output", type=Path, default=Path("runs/demo"), help="folder (default runs/demo)"
    )
    parser.add_argument("--labelled", type=float, default=12, help="labelled scans (default 12)")
    parser.add_argument("--iterations", type=int, default=500, help="training steps (default 500)")
    parser.add_argument(
        "--root",
        type=Path,
        help="folder that holds sample_data/ and bundles/ (default: this clone)",
    )


def run(args: argparse.Namespace) -> int:
    """Check, split, plan, train, evaluate, predict: the main job from end to end."""
    root = _root(args.root)
    dataset = str(root / "sample_data" / "dataset")
    scans = str(root / "sample_data" / "scans")
    out = args.output
    datalist = str(out / "datalist.json")
    plan_file = str(out / "plan.yaml")
    say("1/5 Checking the dataset and choosing which scans are labelled")
    code = run_verb(check, [dataset])
    budget = f"{args.labelled:g}"
    code = code or run_verb(split, [dataset, "--labelled", budget, "--output", datalist])
    if code:
        return code
    say("2/5 Measuring the dataset")
    run_verb(plan, [dataset, "--datalist", datalist, "--output", plan_file])
    say(f"3/5 Training for {args.iterations} iterations")
    steps = ["--iterations", str(args.iterations)]
    steps += ["--set", f"epoch_iterations={min(50, args.iterations)}"]
    bundle = ["--bundle", str(root / "bundles" / "semisupervised_baselines")]
    where = ["--datalist", datalist, "--plan", plan_file, "--output", str(out)]
    run_verb(train, [dataset, *bundle, *where, *steps])
    say("4/5 Evaluating on the test scans")
    scores = ["--output", str(out / "evaluation"), "--weights", str(out)]
    run_verb(evaluate, [dataset, "--datalist", datalist, *scores])
    say("5/5 Segmenting a folder of NIfTI and DICOM scans")
    masks = ["--output", str(out / "predictions"), "--overwrite", "--weights", str(out)]
    code = run_verb(predict, [scans, *masks])
    say(_ending(out))
    return code


def _ending(out: Path) -> str:
    masks = out / "predictions"
    previews = sorted(str(path) for path in masks.rglob("*_preview.png"))
    return (
        f"\nDone. Folder:   {out}\n"
        f"Table:          {out / 'evaluation' / 'metrics.csv'} (per case), "
        f"{masks / 'report.csv'} (volumes in mL)\n"
        f"Pictures:       {out / 'learning_curve.png'}, {out / 'evaluation' / 'worst_cases.png'}\n"
        f"                {', '.join(previews)}"
    )


def _root(given: Path | None) -> Path:
    """The clone: what was named, the working folder, or where an editable install points to."""
    candidates = [given] if given else [Path.cwd(), Path(__file__).resolve().parents[2]]
    for root in candidates:
        if (root / "sample_data" / "dataset").is_dir() and (root / "bundles").is_dir():
            return root
    raise ConfigError(
        "no sample_data/ and bundles/ here",
        expected="a clone of the repository",
        remedy="run in the clone, or name it with --root",
        path=candidates[0],
    )
