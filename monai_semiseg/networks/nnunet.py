"""Networks of nnU-Net, built from the ``architecture`` block of its plans."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from monai_semiseg.datasets.nnunet_files import nnunet_module
from monai_semiseg.datasets.nnunet_plans import NETWORKS, NnunetPlans
from monai_semiseg.errors import ConfigError

_CLASSES_FROM = ("torch.nn", "dynamic_network_architectures")


def nnunet_network(
    architecture: Mapping[str, Any],
    in_channels: int,
    out_channels: int,
    deep_supervision: bool = False,
) -> nn.Module:
    """Build the network of a plans file as nnU-Net does, with its names, shapes and start.

    The network has ``encoder.stages`` (the last one is the deepest) and ``decoder.stages`` (the
    last one has full resolution). ``decoder.deep_supervision`` may be set at any time: the outputs
    of all resolutions have weights in any case.

    Args:
        architecture: ``network_class_name``, ``arch_kwargs`` and ``_kw_requires_import``.
        in_channels: of the images.
        out_channels: number of classes, or of regions.
        deep_supervision: return a list of outputs, full resolution first.

    Raises:
        ConfigError: If it is another network, an argument does not fit, or a class would come from
            another package than torch and dynamic_network_architectures.
    """
    kind = str(architecture.get("network_class_name")).rsplit(".", 1)[-1]
    if kind not in NETWORKS:
        raise ConfigError(f"a network {kind}", expected=" or ".join(NETWORKS))
    module = nnunet_module("dynamic_network_architectures.architectures.unet")
    arguments = dict(architecture.get("arch_kwargs") or {})
    for name in architecture.get("_kw_requires_import") or ():
        if arguments.get(name) is not None:
            arguments[name] = _class_named(str(arguments[name]))
    arguments |= {"input_channels": in_channels, "num_classes": out_channels}
    arguments["deep_supervision"] = deep_supervision
    try:
        network: nn.Module = getattr(module, kind)(**arguments)
    except (TypeError, AssertionError, ValueError, IndexError) as error:
        raise ConfigError(
            f"{kind} cannot be built ({error})",
            expected="the architecture block of nnU-Net's plans",
        ) from error
    network.apply(getattr(network, "initialize"))  # noqa: B009  (no attribute of nn.Module)
    return network


def _class_named(text: str) -> type[nn.Module]:
    """Find a layer's class; plans are files from anywhere, and must not name other code."""
    path, _, name = text.rpartition(".")
    found = None
    if path.startswith(_CLASSES_FROM) and path.replace(".", "").replace("_", "").isalnum():
        try:
            found = getattr(importlib.import_module(path), name, None)
        except ImportError:
            found = None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ConfigError(f"a layer {text}", expected=f"a class of {' or '.join(_CLASSES_FROM)}")
    return found


def network_config(
    plans: NnunetPlans, in_channels: int | str, out_channels: int | str
) -> dict[str, Any]:
    """Return ``network_def`` of the bundles' configs; it holds all that the network needs."""
    return {
        "_target_": "monai_semiseg.networks.nnunet.nnunet_network",
        "architecture": plans.architecture,
        "in_channels": in_channels,
        "out_channels": out_channels,
    }
