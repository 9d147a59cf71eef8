"""Segment every scan in files, folders and .zip archives (NIfTI, NRRD, MetaImage, DICOM)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_semiseg.cli.arguments import add_bundle_arguments, overlay_files, overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", nargs="+", help="scans, folders (searched to any depth) or .zip archives")
    parser.add_argument("--output", required=True, help="folder for masks, previews and the report")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")
    parser.add_argument("--no_preview", action="store_true", help="write no PNG beside the masks")
    parser.add_argument("--uncertainty", action="store_true", help="write a map of the uncertainty beside every mask")
    parser.add_argument("--output_type", default="nifti", choices=["nifti", "dicom_seg", "both"],
                        help="masks of DICOM series as NIfTI, DICOM SEG or both (default nifti)")  # fmt: skip
    parser.add_argument("--shard", help="i/n: this process does every n-th scan (default: RANK or SLURM_PROCID)")
    add_bundle_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the bundle's inference workflow; 3 if some cases failed."""
    from monai_semiseg.inference.workflow import run_workflow

    settings = {
        "dataset_dir": args.input if len(args.input) > 1 else args.input[0],
        "output_dir": args.output,
        "overwrite": args.overwrite,
        "preview": not args.no_preview,
        "uncertainty": args.uncertainty,
        "output_type": ["nifti", "dicom_seg"] if args.output_type == "both" else args.output_type,
        "shard": args.shard,
        **overrides(args),
    }
    workflow = run_workflow(args.bundle, "inference", settings, overlay_files(args))
    runner = workflow.parser.get_parsed_content("runner")
    done = sum(result.status == "done" for result in runner.results)
    skipped = sum(result.status == "skipped" for result in runner.results)
    report = Path(args.output) / "report.csv"
    sys.stdout.write(f"{done} done, {runner.failed} failed, {skipped} files skipped; {report}\n")
    code: int = runner.exit_code()
    return code
