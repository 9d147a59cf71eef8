"""Train, evaluate and segment on the shipped sample data, in a few minutes on a CPU."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_semiseg.cli.terminal import say
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
    dataset, out = root / "sample_data" / "dataset", args.output
    bundle = root / "bundles" / "semisupervised_baselines"
    datalist, plan = out / "datalist.json", out / "plan.yaml"
    _say("1/5 Checking the dataset and choosing which scans are labelled")
    code = _verb(["check", str(dataset)])
    code = code or _verb(
        ["split", str(dataset), "--labelled", f"{args.labelled:g}", "--output", str(datalist)]
    )
    if code:
        return code
    _say("2/5 Measuring the dataset")
    _verb(["plan", str(dataset), "--datalist", str(datalist), "--output", str(plan)])
    _say(f"3/5 Training for {args.iterations} iterations")
    _train(bundle, dataset, datalist, plan, out, args.iterations)
    common = ["--bundle", str(bundle), "--weights", str(out / "model.pt"), "--plan", str(plan)]
    _say("4/5 Evaluating on the test scans")
    _verb(
        [
            "evaluate",
            str(dataset),
            "--datalist",
            str(datalist),
            "--output",
            str(out / "evaluation"),
            *common,
        ]
    )
    _say("5/5 Segmenting a folder of NIfTI and DICOM scans")
    scans = str(root / "sample_data" / "scans")
    code = _verb(["predict", scans, "--output", str(out / "predictions"), "--overwrite", *common])
    _say(_ending(out))
    return code


def _ending(out: Path) -> str:
    masks = out / "predictions"
    previews = sorted(str(path) for path in masks.rglob("*_preview.png"))
    return (
        f"\nDone. Folder:   {out}\n"
        f"Table:          {out / 'evaluation' / 'metrics.csv'} (per case), {masks / 'report.csv'} (volumes in mL)\n"
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


def _train(
    bundle: Path, dataset: Path, datalist: Path, plan: Path, out: Path, iterations: int
) -> None:
    from monai_semiseg.bundles.workflow import run_workflow

    settings = {
        "dataset_dir": str(dataset),
        "datalist": str(datalist),
        "ckpt_dir": str(out),
        "output_dir": str(out),
        "iterations": iterations,
        "epoch_iterations": min(50, iterations),
    }
    run_workflow(bundle, "train", settings, [plan])


def _verb(argv: list[str]) -> int:
    from monai_semiseg.cli.main import build_parser

    args = build_parser().parse_args(argv)
    code: int = args.run(args)
    return code


def _say(text: str) -> None:
    say(text)
    sys.stdout.flush()
