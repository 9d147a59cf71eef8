"""Arguments of verbs that open a model, and what arguments share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from monai_semiseg.bundles.trained_model import TrainedModel


def add_bundle_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which weights, bundle, plan and device."""
    parser.add_argument(
        "--bundle",
        help="name or folder of a bundle (default: the one that the weights were trained with)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        help="weights, the folder of a training, or the folder of a model of nnU-Net as "
        "FOLDER[:FOLD] (default: the bundle's models/model.pt)",
    )
    parser.add_argument(
        "--plan",
        type=Path,
        help="the plan.yaml that the weights were trained with (default: as it says beside them)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        default=[],
        help="YAML or JSON merged over config and plan; may be repeated",
    )
    add_setting_arguments(parser)


def add_setting_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare further settings and the device."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="another value for a key of the configs; may be repeated",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")


def repeated(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Return arguments as they stand on a command line, to give them to another verb."""
    words = []
    for name in names:
        value = getattr(args, name)
        if value is not None and value is not False:
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def number_or_text(text: str) -> float | str:
    """Return a number if the text is one, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Model:
    """A bundle with the files and settings that its weights need.

    Attributes:
        bundle: its folder.
        overlays: configs to merge over the bundle's, in this order.
        settings: values for keys of the configs.
    """

    bundle: Path
    overlays: list[Path]
    settings: dict[str, Any]


def model_of(args: argparse.Namespace, config: str) -> Model:
    """Return what the shared arguments ask for, completed by what lies beside the weights.

    Args:
        args: of :func:`add_bundle_arguments`.
        config: workflow that is to run: ``inference`` or ``evaluate``.

    Raises:
        ConfigError: If neither the arguments nor the weights name a bundle, or a file is not there.
    """
    from monai_semiseg.bundles.locate import bundle_folder
    from monai_semiseg.bundles.trained_model import TrainedModel
    from monai_semiseg.networks.nnunet_settings import refuse_other_steps

    asked = settings_of(args)
    trained = TrainedModel() if args.weights is None else _trained(args.weights, config)
    folder = bundle_folder(args.bundle) if args.bundle is not None else trained.bundle
    if folder is None:
        raise ConfigError(
            "no --bundle, and no file beside the weights names a bundle",
            expected="--bundle NAME, or --weights FOLDER of a training",
            remedy="monai-semiseg predict SCANS --output MASKS --bundle semisupervised_baselines",
        )
    settings: dict[str, Any] = {}
    if trained.weights is not None:
        settings["ckpt_path"] = str(trained.weights)
    files = _files(args)
    if args.plan is None:  # a plan that is named says all by itself
        refuse_other_steps(files, trained.settings)
        settings |= trained.settings
    return Model(folder, files, settings | asked)


def _trained(path: Path, config: str) -> TrainedModel:
    """Read a model of this package, or a trained folder of nnU-Net, which any bundle can run."""
    from monai_semiseg.bundles.keys import load_config
    from monai_semiseg.bundles.locate import bundle_folder
    from monai_semiseg.bundles.record import read_record
    from monai_semiseg.bundles.trained_model import TrainedModel, open_trained_model
    from monai_semiseg.networks.nnunet_checkpoint import nnunet_folder, open_nnunet_model
    from monai_semiseg.networks.nnunet_settings import model_settings, recorded_settings

    found = nnunet_folder(path)
    if found is not None:
        model = open_nnunet_model(*found)
        bundle = bundle_folder("semisupervised_baselines")
        content = load_config(bundle / "configs" / f"{config}.json")
        return TrainedModel(model.weights, bundle, model_settings(model, content))
    trained = open_trained_model(path, config)
    if trained.weights is None or trained.bundle is None:
        return trained
    record = (read_record(trained.weights) or {}).get("settings", {})
    content = load_config(trained.bundle / "configs" / f"{config}.json")
    more = recorded_settings(record, trained.weights, content)
    return replace(trained, settings={**trained.settings, **more})


def _files(args: argparse.Namespace) -> list[Path]:
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


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what ``--set`` and ``--device`` ask for.

    Raises:
        ConfigError: If a setting is not ``KEY=VALUE``, or the device is absent.
    """
    settings: dict[str, Any] = dict(_setting(text) for text in args.settings)
    if args.device != "auto":
        settings["device"] = f"$torch.device('{checked_device(args.device)}')"
    return settings


def _setting(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``, the value as YAML."""
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
