"""Measure weights on a datalist's test scans: Dice, surface Dice, 95HD and ASD per case."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semiseg.cli.arguments import add_bundle_arguments, model_of
from monai_semiseg.cli.executors import add_executor_arguments, executor_of
from monai_semiseg.cli.left_out import report_left_out
from monai_semiseg.cli.terminal import say
from monai_semiseg.plain_text import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("dataset", help="dataset folder")
    parser.add_argument("--datalist", required=True, help="as monai-semiseg split wrote it")
    parser.add_argument("--section", default="test", help="section of the datalist (default test)")
    parser.add_argument(
        "--output", required=True, help="folder for metrics.csv, metrics.json and worst_cases.png"
    )
    add_executor_arguments(parser)
    add_bundle_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the bundle's evaluation workflow and show the table; return 3 if cases were left out."""
    from monai_semiseg.datasets.dataset import folder_of
    from monai_semiseg.evaluation.summary import as_table
    from monai_semiseg.evaluation.team import EvaluationRecipe, evaluate_by_team

    model = model_of(args, "evaluate")
    settings = {
        "dataset_dir": str(folder_of(Path(args.dataset))),
        "datalist": args.datalist,
        "section": args.section,
        "output_dir": args.output,
        **model.settings,
    }
    recipe = EvaluationRecipe(model.bundle, settings, model.overlays)
    executor = executor_of(args)
    if executor.in_process:
        workflow = recipe.workflow("evaluate")
        workflow.run()
        summary = workflow.parser.get_parsed_content("evaluator").state.metrics["summary"]
    else:
        summary = evaluate_by_team(recipe, executor, Path(args.output))
    cases = counted(summary["cases"], "cases")
    say(f"{as_table(summary)}\n{cases}; {Path(args.output) / 'metrics.csv'}")
    return report_left_out({failed["case"]: failed["reason"] for failed in summary["failed"]})
