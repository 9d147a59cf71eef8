"""Networks by name: ``SegResNet``, ``SegResNet(init_filters=16)``, or a dotted path."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Mapping
from pydoc import ErrorDuringImport, locate
from typing import Any

from torch import nn

from monai_semiseg.errors import ConfigError

# What a network is told by every config, under the names that programs give to it.
ROLES = {
    "spatial_dims": ("spatial_dims", "dimensions"),
    "in_channels": ("in_channels", "input_channels", "n_channels", "in_chans"),
    "out_channels": ("out_channels", "num_classes", "n_classes", "output_channels"),
}
# Values for arguments that MONAI's networks require, by network: usual ones, of five levels.
REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "AttentionUnet": {"channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2]},
    "DynUNet": {
        "kernel_size": [3, 3, 3, 3, 3],
        "strides": [1, 2, 2, 2, 2],
        "upsample_kernel_size": [2, 2, 2, 2],
    },
    "FlexibleUNet": {"backbone": "efficientnet-b0"},
    "UNETR": {"img_size": "@patch_size"},
    "UNet": {"channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2], "num_res_units": 2},
}


def network_from(
    text: str, *, spatial_dims: int | str, in_channels: int | str, out_channels: int | str
) -> dict[str, Any]:
    """Return the config of the network that a text names, ``{"_target_": ..., keyword: value}``.

    Args:
        text: a class of ``monai.networks.nets`` or the dotted path of a class, with keyword values
            in parentheses where wanted, as in Python.
        spatial_dims: axes of an image, a number or a reference such as ``@spatial_dims``.
        in_channels: of an image, likewise.
        out_channels: classes with the background, likewise.

    Raises:
        ConfigError: If there is no such network, it is no segmentation network, or it does not take
            one of the values.
    """
    told: dict[str, Any] = {
        "spatial_dims": spatial_dims,
        "in_channels": in_channels,
        "out_channels": out_channels,
    }
    target, values = _parsed(text)
    network = _class_named(target)
    config = {"_target_": target, **_roles(network, target, told)}
    config |= REQUIRED.get(target.rsplit(".", 1)[-1], {})
    config |= values
    _refuse_other_arguments(network, target, config)
    return config


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a class and the keyword values in parentheses after it."""
    problem = ConfigError(
        f"--network {text}",
        expected="NAME, NAME(keyword=value, ...) or FILE.json, each value as in Python",
        remedy="for example: --network 'SegResNet(init_filters=16)'",
    )
    try:
        node = ast.parse(text.strip(), mode="eval").body
        keywords: list[ast.keyword] = []
        if isinstance(node, ast.Call):
            keywords = node.keywords
            if node.args or any(keyword.arg is None for keyword in keywords):
                raise problem
            node = node.func
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in keywords}
    except (SyntaxError, ValueError) as error:
        raise problem from error
    target = ast.unparse(node)
    if not all(part.isidentifier() for part in target.split(".")):
        raise problem
    return target, {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """Return lists for tuples, which JSON and YAML do not have."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _class_named(target: str) -> type[nn.Module]:
    """Find a class.

    Raises:
        ConfigError: If there is none, or it is no network.
    """
    import monai.networks.nets as nets

    if "." not in target:
        found: Any = getattr(nets, target, None)
        if not _is_network(found):
            raise _unknown(target, [name for name in dir(nets) if _takes_classes(nets, name)])
    else:
        try:
            found = locate(target)
        except ErrorDuringImport as error:
            raise ConfigError(
                f"--network {target} cannot be imported: {str(error).splitlines()[0]}",
                expected="the dotted path of a class",
            ) from error
        if not _is_network(found):
            what = "is not there" if found is None else "is no torch.nn.Module"
            raise ConfigError(
                f"--network {target} {what}", expected="the dotted path of a network's class"
            )
    network: type[nn.Module] = found
    return network


def _is_network(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, nn.Module)


def _takes_classes(nets: Any, name: str) -> bool:
    """Return whether a name of MONAI is that of a network with input and output channels."""
    found = getattr(nets, name)
    if not _is_network(found):
        return False
    known = inspect.signature(found.__init__).parameters
    return all(_named(known, role) for role in ("in_channels", "out_channels"))


def _unknown(target: str, known: list[str]) -> ConfigError:
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(target.lower(), by_lower, n=3, cutoff=0.5)
    names = ", ".join(by_lower[name] for name in near)
    return ConfigError(
        f"--network {target}: MONAI has no network of this name",
        expected="a class of monai.networks.nets, a dotted path, or FILE.json",
        remedy=f"did you mean {names}?" if names else "SegResNet, DynUNet and UNet are some",
    )


def _named(known: Mapping[str, Any], role: str) -> str | None:
    """Return the name that a class has for a role, or None."""
    return next((name for name in ROLES[role] if name in known), None)


def _roles(network: type[nn.Module], target: str, told: Mapping[str, Any]) -> dict[str, Any]:
    known = inspect.signature(network.__init__).parameters
    names = {role: _named(known, role) for role in told}
    absent = [role for role in ("in_channels", "out_channels") if names[role] is None]
    if absent:
        raise ConfigError(
            f"--network {target} has no argument {' or '.join(absent)}",
            expected="a segmentation network, which is told its input and output channels",
            remedy="write a class that has these arguments and calls this one",
        )
    return {name: told[role] for role, name in names.items() if name is not None}


def _refuse_other_arguments(
    network: type[nn.Module], target: str, config: Mapping[str, Any]
) -> None:
    """Refuse an argument that the class does not have, and one that it lacks."""
    parameters = inspect.signature(network.__init__).parameters
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in config:
        if name in parameters or is_open or name == "_target_":
            continue
        near = difflib.get_close_matches(name, parameters, n=1)
        known = ", ".join(parameter for parameter in parameters if parameter != "self")
        raise ConfigError(
            f"--network {target} has no argument {name!r}",
            expected=f"some of {known}",
            remedy=f"did you mean {near[0]!r}?" if near else "",
        )
    named = (p for name, p in parameters.items() if name != "self" and name not in config)
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    lacking = [p.name for p in named if p.default is p.empty and p.kind not in variable]
    if lacking:
        raise ConfigError(
            f"--network {target} needs values for {', '.join(lacking)}",
            expected=f"--network '{target}({lacking[0]}=...)'",
        )
