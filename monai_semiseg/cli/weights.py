"""Look into weights, convert them, and see how much of them another network would take."""

from __future__ import annotations

import argparse
import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from monai_semiseg.cli.terminal import say
from monai_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "action",
        choices=["inspect", "convert", "match"],
        help="show what is inside; write --output; or compare with the network of --bundle",
    )
    parser.add_argument("weights", type=Path, help=".pt or .safetensors; no code in it is executed")
    parser.add_argument("--output", type=Path, help="file to write, .pt or .safetensors")
    parser.add_argument(
        "--bundle", help="name or folder of the bundle whose network to match or to convert for"
    )
    parser.add_argument(
        "--spatial_dims",
        type=int,
        choices=[2, 3],
        help="of the bundle's network, in place of its own",
    )
    parser.add_argument(
        "--in_channels", type=int, help="of the bundle's network, in place of its own"
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="put NEW for OLD at the front of tensor names; may be given again",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="keep tensors of such names, as 'down_*' (shell pattern); may be given again",
    )
    parser.add_argument("--half", action="store_true", help="store in half precision")


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from monai_semiseg.networks.weight_files import read_state_dict

    state = _kept(_renamed(read_state_dict(args.weights), args.rename), args.only)
    return {"inspect": _inspect, "convert": _convert, "match": _match}[args.action](args, state)


def _renamed(state: dict[str, Tensor], pairs: list[str]) -> dict[str, Tensor]:
    for pair in pairs:
        old, sign, new = pair.partition("=")
        if not sign or not old:
            raise ConfigError(f"--rename {pair!r}", expected="OLD=NEW")
        if not any(name.startswith(old) for name in state):
            some = ", ".join(list(state)[:3])
            raise ConfigError(
                f"--rename {pair!r}: no tensor name begins with {old!r}",
                expected=f"one of {some}, ...",
            )
        state = {
            new + name.removeprefix(old) if name.startswith(old) else name: v
            for name, v in state.items()
        }
    return state


def _kept(state: dict[str, Tensor], patterns: list[str]) -> dict[str, Tensor]:
    for pattern in patterns:
        if not fnmatch.filter(state, pattern):
            raise ConfigError(
                f"--only {pattern!r}: no tensor has this name",
                expected=f"as {next(iter(state), 'none')}",
            )
    return {
        name: value
        for name, value in state.items()
        if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def _inspect(args: argparse.Namespace, state: dict[str, Tensor]) -> int:
    from monai_semiseg.storage.files import sha256_of

    for name, value in state.items():
        shape = " x ".join(map(str, value.shape)) or "scalar"
        say(f"{name:60} {str(value.dtype).removeprefix('torch.'):9} {shape}")
    numbers = sum(value.numel() for value in state.values())
    megabytes = args.weights.stat().st_size / 2**20
    say(
        f"{len(state)} tensors, {numbers} numbers, {megabytes:.1f} MB, "
        f"sha256 {sha256_of(args.weights)}"
    )
    return 0


def _convert(args: argparse.Namespace, state: dict[str, Tensor]) -> int:
    from monai_semiseg.networks.inflation import fitted
    from monai_semiseg.networks.weight_files import save_weights
    from monai_semiseg.networks.weights import named_alike

    if args.output is None:
        raise ConfigError(
            "convert without --output", expected="--output FILE.pt or FILE.safetensors"
        )
    if args.bundle is not None:
        network = _network(args)
        state = named_alike(network, state)
        before = len(state)
        state = fitted(state, network, args.weights)
        total = len(network.state_dict())
        say(f"{len(state)} of the network's {total} tensors filled, {before - len(state)} left out")
    if args.half:
        state = {
            name: value.half() if value.is_floating_point() else value
            for name, value in state.items()
        }
    save_weights(state, args.output)
    say(str(args.output))
    return 0


def _match(args: argparse.Namespace, state: dict[str, Tensor]) -> int:
    from monai_semiseg.networks.inflation import adapted
    from monai_semiseg.networks.weights import match_weights, named_alike

    network = _network(args)
    match = match_weights(network, adapted(named_alike(network, state), network, args.weights))
    say(str(match))
    return 0 if match.loaded else 3


def _network(args: argparse.Namespace) -> nn.Module:
    from monai_semiseg.bundles.locate import bundle_folder
    from monai_semiseg.bundles.workflow import open_workflow

    if args.bundle is None:
        raise ConfigError("no network to compare with", expected="--bundle NAME or FOLDER")
    asked = {name: getattr(args, name) for name in ("spatial_dims", "in_channels")}
    settings = {name: value for name, value in asked.items() if value is not None}
    workflow = open_workflow(bundle_folder(args.bundle), "inference", settings)
    network: nn.Module = workflow.parser.get_parsed_content("network_def")
    return network
