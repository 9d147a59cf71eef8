"""Selection of the layers that learn."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.geometry import CONVOLUTIONS, Convolution


def convolutions(network: nn.Module) -> dict[str, Convolution]:
    """Return all convolutions and transposed convolutions by name, in the order of registration.

    Raises:
        ConfigError: If there are none.
    """
    found = {
        name: module for name, module in network.named_modules() if isinstance(module, CONVOLUTIONS)
    }
    if not found:
        raise ConfigError(
            f"{type(network).__name__} has no convolution", expected="a convolutional network"
        )
    return found


def head(network: nn.Module) -> list[str]:
    """Return the names of the output head.

    These are the last convolutions, as far back as they have the output's number of channels.

    Found from the order of registration, which in MONAI's networks is that of execution; deep
    supervision heads of DynUNet are among them. For a network built otherwise, name the layers.
    """
    layers = list(convolutions(network).items())
    classes = layers[-1][1].out_channels
    names = []
    for name, layer in reversed(layers):
        if layer.out_channels != classes:
            break
        names.append(name)
    return names[::-1]


def selected(
    network: nn.Module, include: Sequence[str] = ("*",), exclude: Sequence[str] | None = None
) -> dict[str, Convolution]:
    """Select the convolutions that learn.

    Args:
        network: any network.
        include: shell-style patterns (``*``, ``?``, ``[...]``) of module names.
        exclude: patterns of names that do not learn; None leaves out :func:`head`, ``()``
            nothing.

    Raises:
        ConfigError: If a pattern matches no convolution, or none is left.
    """
    layers = convolutions(network)
    names = list(layers)
    left_out = head(network) if exclude is None else _matching_any(exclude, names)
    wanted = set(_matching_any(include, names)) - set(left_out)
    chosen = {name: layer for name, layer in layers.items() if name in wanted}
    if not chosen:
        raise ConfigError(
            f"no convolution of {type(network).__name__} is left to learn",
            expected=f"some of {', '.join(names[:3])}, ...",
            remedy="widen include, or narrow exclude",
        )
    return chosen


def _matching_any(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    found = []
    for pattern in patterns:
        found += _matching(pattern, names)
    return found


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    """Return names of modules that match, or that lie inside a module that does."""
    found = [n for n in names if fnmatchcase(n, pattern) or fnmatchcase(n, pattern + ".*")]
    if not found:
        near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
        raise ConfigError(
            f"pattern {pattern!r} matches no convolution",
            expected="names as in network.named_modules()",
            remedy=f"did you mean {near[0]!r}?" if near else f"they begin with {names[0]!r}",
        )
    return found
