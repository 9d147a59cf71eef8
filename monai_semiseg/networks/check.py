"""Check of a workflow's network before any work: it takes the patches and returns the classes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_semiseg.bundles.caller import calling
from monai_semiseg.errors import ConfigError, SemisegError, root_cause
from monai_semiseg.networks.features import output_shape

# Factors by which networks shrink their images, in all.
FACTORS = (2, 4, 8, 16, 32, 64)
# How networks refuse images, in their constructors or in the forward pass.
REFUSALS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)


def check_network() -> None:
    """Check the network of the workflow that calls this; the bundles' ``initialize`` does.

    Only shapes are computed. Random generators stay as they are.

    Raises:
        ConfigError: If the network cannot be built, does not take patches of ``patch_size`` and
            ``in_channels``, or does not return ``out_channels`` maps of that size.
    """
    workflow = calling(ConfigWorkflow)
    if workflow is not None:
        check_network_of(workflow.parser)


def check_network_of(parser: ConfigParser) -> None:
    """Check the network of a config, as :func:`check_network` does; without one there is no check.

    Args:
        parser: of the config; its content is copied, and nothing in it is built.

    Raises:
        ConfigError: See there.
    """
    config = {key: value for key, value in parser.get().items() if key != ConfigParser.meta_key}
    if "network_def" not in config:
        return
    read = ConfigParser(copy.deepcopy(config))
    patch = [int(side) for side in read.get_parsed_content("patch_size")]
    wanted = (read.get_parsed_content("out_channels"), *patch)
    try:
        found = _output_size(config, patch)
    except Exception as error:  # a network of any origin refuses images in its own way
        cause = root_cause(error)
        if isinstance(cause, SemisegError):
            raise cause from error
        raise _refusal(config, patch, cause) from error
    if found != wanted:
        raise ConfigError(
            f"{_name(config)} returns {_size(found[1:])} of {found[0]} channels for patches of "
            f"{_size(patch)}",
            expected=f"{_size(patch)} of {wanted[0]} channels, one for each class",
            remedy="use a segmentation network that returns logits at the size of its input",
        )


def _output_size(config: dict[str, Any], patch: Sequence[int]) -> tuple[int, ...]:
    """Build the network for a size of patches; return channels and size of its logits."""
    parser = ConfigParser(copy.deepcopy(config) | {"patch_size": list(patch)})
    with torch.random.fork_rng(devices=[]):
        network = parser.get_parsed_content("network_def")
        channels = parser.get_parsed_content("in_channels")
        return output_shape(network, [channels, *patch])[1:]


def _refusal(config: dict[str, Any], patch: Sequence[int], cause: BaseException) -> ConfigError:
    """Return the error for a network that refuses its patches, with patches that it takes."""
    first = (str(cause).splitlines() or [""])[0]
    fitting = _fitting(config, patch)
    found = f"{_name(config)} does not take patches of {_size(patch)}: {first[:160]}"
    if fitting is None:
        return ConfigError(
            found,
            expected="a segmentation network for images of this many axes and channels",
            remedy="see the arguments of its class",
        )
    return ConfigError(
        found,
        expected=f"{_size(fitting)}, for example",
        remedy=f"--set patch_size=[{','.join(map(str, fitting))}]",
    )


def _fitting(config: dict[str, Any], patch: Sequence[int]) -> tuple[int, ...] | None:
    """Return the smallest patch, at least as large, that the network takes; None if none is."""
    for factor in FACTORS:
        for least in (1, 2):  # twice the factor: one voxel at the bottom cannot be normalised
            sides = tuple(factor * max(least, -(-side // factor)) for side in patch)
            try:
                if _output_size(config, sides)[1:] == sides:
                    return sides
            except REFUSALS:
                continue
    return None


def _name(config: dict[str, Any]) -> str:
    network = config["network_def"]
    target = network.get("_target_", "network_def") if isinstance(network, dict) else network
    return str(target).rsplit(".", 1)[-1]


def _size(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
