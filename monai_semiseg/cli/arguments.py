"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from monai_semiseg.errors import ConfigError


def add_bundle_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare which bundle, weights, plan and device."""
    parser.add_argument("--bundle", type=Path, required=required, help="bundle folder")
    parser.add_argument(
        "--weights", type=Path, help="weights (default: the bundle's models/model.pt)"
    )
    parser.add_argument(
        "--plan", type=Path, help="the plan.yaml that the weights were trained with"
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        default=[],
        help="YAML or JSON merged over config and plan; may be repeated",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="another value for a key of the configs; may be repeated",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")


def overlay_files(args: argparse.Namespace) -> list[Path]:
    """Configs to merge over the bundle's, in this order.

    Raises:
        ConfigError: If one is not there.
    """
    files: list[Path] = [file for file in (args.plan, *args.config) if file is not None]
    for file in files:
        if not file.is_file():
            raise ConfigError(
                "no such file",
                expected="a plan or another config",
                path=file,
                remedy="monai-semiseg plan DATASET makes a plan",
            )
    return files


def overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Bundle settings that the shared arguments ask for.

    Raises:
        ConfigError: If a setting is not ``KEY=VALUE``.
    """
    settings: dict[str, Any] = dict(_setting(text) for text in args.settings)
    if args.weights is not None:
        settings["ckpt_path"] = str(args.weights)
    if args.device != "auto":
        settings["device"] = f"$torch.device('{checked_device(args.device)}')"
    return settings


def _setting(text: str) -> tuple[str, Any]:
    """``KEY=VALUE``, the value read as YAML."""
    import yaml

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ConfigError(f"--set {text}", expected="KEY=VALUE")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {text}", expected="KEY=VALUE with a value that YAML can read"
        ) from error


def checked_device(name: str) -> str:
    """Require a device that this machine has.

    Raises:
        ConfigError: If the name is none of ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or the device is
            absent.
    """
    import torch

    try:
        device = torch.device(name)
        present = device.type == "cpu" or torch.empty(1, device=device).numel() == 1
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"--device {name}: {str(error).splitlines()[0]}",
            expected="auto, cpu or a CUDA device of this machine",
            remedy="run monai-semiseg doctor to see what is there",
        ) from error
    return str(device) if present else "cpu"
