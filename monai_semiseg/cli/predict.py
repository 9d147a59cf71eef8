"""Segment every scan and photograph in files, folders and .zip archives."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from monai_semiseg.cli.arguments import Model, add_bundle_arguments, model_of
from monai_semiseg.cli.executors import add_executor_arguments, executor_of
from monai_semiseg.cli.terminal import say
from monai_semiseg.cli.trust import add_trust_argument, require_trusted
from monai_semiseg.errors import ConfigError
from monai_semiseg.plain_text import counted

if TYPE_CHECKING:
    from monai_semiseg.inference.runner import BatchRunner
    from monai_semiseg.inference.team import RunnerRecipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "input",
        nargs="+",
        help="images (NIfTI, NRRD, MetaImage, MGH, DICOM, PNG, JPEG, TIFF, BMP), folders (searched "
        "to any depth) or .zip archives",
    )
    _add_output_arguments(parser)
    parser.add_argument(
        "--any_modality",
        action="store_true",
        help="segment DICOM of another modality than trained on, and flag it",
    )
    parser.add_argument(
        "--on_flag",
        default="keep",
        choices=["keep", "skip", "fail"],
        help="masks of scans unlike the training scans, or with volumes unlike theirs: keep them "
        "(default; exit code 5), write none, or count the scans as failed",
    )
    add_trust_argument(parser)
    add_executor_arguments(parser, replaced=["--shard"])
    parser.add_argument(
        "--frames",
        choices=["each"],
        help="each: every frame of a DICOM cine (ultrasound, angiography) is an image; by default "
        "a cine fails by name",
    )
    add_bundle_arguments(parser)


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is written, and where."""
    parser.add_argument("--output", required=True, help="folder for masks, previews and the report")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the results of an earlier run"
    )
    parser.add_argument("--no_preview", action="store_true", help="write no pictures")
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="write a map of the uncertainty beside every mask",
    )
    parser.add_argument(
        "--output_type",
        default="native",
        choices=["native", "nifti", "dicom_seg", "seg_nrrd", "both"],
        help="native (default): PNG of label numbers for pictures and single DICOM images, NIfTI "
        "for scans; DICOM SEG; .seg.nrrd of 3D Slicer; both: native and DICOM SEG",
    )


def run(args: argparse.Namespace) -> int:
    """Run the bundle's inference workflow; 3 if some cases failed, 5 if some masks are flagged."""
    runner = segment(args, model_of(args, "inference"))
    done = sum(result.status == "done" for result in runner.results)
    skipped = sum(result.status == "skipped" for result in runner.results)
    report = Path(args.output) / "report.csv"
    flagged = f" ({runner.flagged} of them flagged)" if runner.flagged else ""
    files = counted(skipped, "files")
    say(f"{done} done{flagged}, {runner.failed} failed, {files} skipped; {report}")
    return runner.exit_code()


def segment(args: argparse.Namespace, model: Model) -> BatchRunner:
    """Segment the inputs with a model whose foreign code, if any, is listed and trusted.

    Args:
        args: of :func:`add_arguments`.
        model: bundle, overlays and settings.

    Raises:
        ConfigError: If the bundle is not ours and not trusted, or there is no such executor.
    """
    from monai_semiseg.inference.team import Team
    from monai_semiseg.inference.zoo import has_runner

    require_trusted(model, trusted=args.trust)
    executor = executor_of(args)
    recipe = _own(args, model) if has_runner(model.bundle) else _zoo(args, model)
    runner = recipe.runner()
    runner.run(None if executor.in_process else Team(executor, recipe))
    return runner


def _own(args: argparse.Namespace, model: Model) -> RunnerRecipe:
    """Return the recipe for a bundle of ours."""
    from monai_semiseg.inference.team import RunnerRecipe

    settings = {
        "dataset_dir": args.input if len(args.input) > 1 else args.input[0],
        "output_dir": args.output,
        "overwrite": args.overwrite,
        "preview": not args.no_preview,
        "uncertainty": args.uncertainty,
        "any_modality": args.any_modality,
        "on_flag": args.on_flag,
        "output_type": _kinds(args),
        "frames": args.frames,
        **model.settings,
    }
    return RunnerRecipe(model.bundle, settings, model.overlays, Path(args.output))


def _zoo(args: argparse.Namespace, model: Model) -> RunnerRecipe:
    """Return the recipe for a bundle that follows the Model Zoo's conventions."""
    from monai_semiseg.inference.team import RunnerRecipe

    if args.uncertainty:
        raise ConfigError(
            "--uncertainty with a bundle of another project", expected="a bundle of this project"
        )
    options = {
        "inputs": args.input,
        "output": args.output,
        "overwrite": args.overwrite,
        "preview": not args.no_preview,
        "output_type": _kinds(args),
        "on_flag": args.on_flag,
        "frames": args.frames,
        "about": {"bundle": model.bundle.resolve().name},
    }
    return RunnerRecipe(model.bundle, model.settings, model.overlays, Path(args.output), options)


def _kinds(args: argparse.Namespace) -> list[str]:
    return ["native", "dicom_seg"] if args.output_type == "both" else [args.output_type]
