"""What the verbs that train share: their arguments, the files that they make, the run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_semiseg.cli import plan, split
from monai_semiseg.cli.arguments import add_setting_arguments, repeated, settings_of
from monai_semiseg.cli.dataset_arguments import (
    DATASET_ARGUMENTS,
    PLAN_ARGUMENTS,
    add_dataset_arguments,
    add_plan_arguments,
)
from monai_semiseg.cli.terminal import say
from monai_semiseg.cli.verbs import run_verb
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import write_atomically

if TYPE_CHECKING:
    from monai_semiseg.cli.nnunet import NnunetTraining


SPLIT_ARGUMENTS = ("labelled", "test", "validation")


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare data, starting point, budget and output."""
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--datalist", type=Path, help="who is labelled (default: split here)")
    parser.add_argument("--plan", type=Path, help="settings that fit (default: measured here)")
    parser.add_argument(
        "--labelled",
        help="labelled scans of a split made here: a count, a fraction below 1, all (default), or "
        "a table of monai-semiseg select",
    )
    parser.add_argument(
        "--test", help="test scans of a split made here, as in monai-semiseg split (default 0.2)"
    )
    parser.add_argument(
        "--validation", help="share of its labelled scans for validation, likewise (default auto)"
    )
    parser.add_argument(
        "--network",
        metavar="NAME|FILE",
        help="instead of the bundle's: a network of MONAI, such as SegResNet or "
        "'SegResNet(init_filters=16)', the dotted path of a class, or FILE.json[:CONFIGURATION]",
    )
    parser.add_argument(
        "--init_weights",
        type=Path,
        help="weights to start from, or the folder of a model of nnU-Net as FOLDER[:FOLD]",
    )
    parser.add_argument("--iterations", type=int, help="optimiser steps (default: the bundle's)")
    parser.add_argument("--seed", type=int, help="of split and training (default 0)")
    parser.add_argument("--resume", action="store_true", help="go on where a run was stopped")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the weights of an earlier training"
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        default=[],
        help="YAML or JSON merged over everything else; may be repeated",
    )
    add_dataset_arguments(parser)
    add_plan_arguments(parser)
    add_setting_arguments(parser)


def train(args: argparse.Namespace, config: Path, overlays: Sequence[Path]) -> int:
    """Run one training config of a bundle, and print the command that equals it first.

    Datalist and plan are made beside the weights if none is given. What is left out of them is
    named, and the exit code is 3 then.

    Args:
        args: of :func:`add_training_arguments`.
        config: ``BUNDLE/configs/NAME.json``.
        overlays: files merged over it, before those of ``--config``.

    Raises:
        ConfigError: If a file is not there or a setting is unknown.
    """
    from monai_semiseg.bundles.command import bundle_command, shell_text
    from monai_semiseg.bundles.workflow import run_workflow

    _check_output(args)
    _check_split(args)
    args, nnunet = _with_nnunet(args, config, overlays)
    datalist = args.datalist or args.output / "datalist.json"
    plan_file = args.plan or args.output / "plan.yaml"
    settings = _settings(args, datalist)
    files = [plan_file, *overlays, *args.config, *(nnunet.overlays if nnunet else [])]
    say(shell_text(bundle_command(config, files, settings, "python")))
    codes = [_split(args, datalist), _plan(args, datalist, plan_file)]
    run_workflow(config.parents[1], config.stem, settings, files)
    _keep_copy(datalist, args.output / "datalist.json")
    _keep_copy(plan_file, args.output / "plan.yaml")
    say(f"weights: {args.output / 'model.pt'}")
    if nnunet is not None:
        nnunet.write_weights()
    return max(codes)


def _check_output(args: argparse.Namespace) -> None:
    """Refuse to write over the weights of an earlier training."""
    found = [args.output / name for name in ("checkpoint.pt", "model.pt")]
    if not (args.resume or args.overwrite) and any(file.is_file() for file in found):
        raise ConfigError(
            "holds the weights of a training",
            expected="a new folder, so that no weights are written over",
            remedy="add --resume to go on with it, --overwrite to replace it, or choose another "
            "--output",
            path=args.output,
        )


def _check_split(args: argparse.Namespace) -> None:
    """Refuse settings of a split beside a datalist, which is one."""
    given = [f"--{name}" for name in SPLIT_ARGUMENTS if getattr(args, name) is not None]
    if args.datalist is not None and given:
        raise ConfigError(
            f"{' and '.join(given)} beside --datalist",
            expected="a datalist, or the settings of a split that is made here",
            remedy="leave one of them out",
            path=args.datalist,
        )


def _with_nnunet(
    args: argparse.Namespace, config: Path, overlays: Sequence[Path]
) -> tuple[argparse.Namespace, NnunetTraining | None]:
    """Look up plans and weights of nnU-Net, if the arguments name some; require all files."""
    from monai_semiseg.cli.nnunet import nnunet_training
    from monai_semiseg.networks.nnunet_checkpoint import nnunet_weights

    if args.init_weights is not None:
        start = nnunet_weights(args.init_weights)
        args = argparse.Namespace(**{**vars(args), "init_weights": start})
    for file in (args.datalist, args.plan, args.init_weights, *args.config):
        if file is not None and not file.is_file():
            raise ConfigError("no such file", expected="a file to train with", path=file)
    found = nnunet_training(args, config, overlays)
    return (args, None) if found is None else (found.args, found)


def _settings(args: argparse.Namespace, datalist: Path) -> dict[str, Any]:
    from monai_semiseg.datasets.dataset import folder_of

    asked: dict[str, Any] = {
        "dataset_dir": str(folder_of(args.dataset)),
        "datalist": str(datalist),
        "ckpt_dir": str(args.output),
        "output_dir": str(args.output),
    }
    if args.resume:
        asked["resume"] = True
    if args.network is not None:
        asked["network_def"] = _network(args.network)
    if args.init_weights is not None:
        asked["init_weights"] = str(args.init_weights)
    for name in ("iterations", "seed"):
        if getattr(args, name) is not None:
            asked[name] = getattr(args, name)
    return {**asked, **settings_of(args)}


def _network(text: str) -> dict[str, Any]:
    """Return the network's config; its dimensions and channels are those of the plan."""
    from monai_semiseg.networks.specification import ROLES, network_from

    spatial_dims, in_channels, out_channels = (f"@{role}" for role in ROLES)
    return network_from(
        text, spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels
    )


def _split(args: argparse.Namespace, path: Path) -> int:
    """Write the datalist, unless it was given, or an earlier start of the same run wrote it."""
    if args.datalist is not None:
        return 0
    say(f"no --datalist: {path} says who trains, validates and is kept for testing")
    if args.resume and path.is_file():
        return 3 if json.loads(path.read_text()).get("left_out") else 0
    asked = ["--labelled", str(args.labelled or "all"), "--seed", str(args.seed or 0)]
    asked += repeated(args, ("test", "validation", *DATASET_ARGUMENTS))
    return run_verb(split, [str(args.dataset), *asked, *_replacing(args), "--output", str(path)])


def _plan(args: argparse.Namespace, datalist: Path, path: Path) -> int:
    """Write the plan, likewise."""
    if args.plan is not None:
        return 0
    say(f"no --plan: {path} holds what was measured on the training images")
    if args.resume and path.is_file():
        return 0
    asked = ["--datalist", str(datalist)]
    asked += repeated(args, (*DATASET_ARGUMENTS, *PLAN_ARGUMENTS))
    return run_verb(plan, [str(args.dataset), *asked, *_replacing(args), "--output", str(path)])


def _replacing(args: argparse.Namespace) -> list[str]:
    return ["--overwrite"] if args.overwrite else []


def _keep_copy(file: Path, copy: Path) -> None:
    """Keep what a model was trained with beside it, even if the file changes later."""
    if file.resolve() != copy.resolve():
        write_atomically(copy, file.read_bytes())
