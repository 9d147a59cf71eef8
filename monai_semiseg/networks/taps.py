"""Read and replace the outputs of named layers of a network, without changing the network."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.weights import unwrapped


def named_layers(network: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Find layers by name or shell pattern, in the network's order.

    Of nested matches only the outermost is returned.

    Raises:
        ConfigError: If a pattern matches nothing; the top-level names are listed.
    """
    modules = {name: module for name, module in unwrapped(network).named_modules() if name}
    for pattern in patterns:
        if not fnmatch.filter(modules, pattern):
            known = ", ".join(name for name, _ in unwrapped(network).named_children())
            raise ConfigError(
                f"no layer {pattern!r}",
                expected="the name of a layer",
                remedy=f"top layers: {known}",
            )
    matches = {
        name: module
        for name, module in modules.items()
        if any(fnmatch.fnmatch(name, p) for p in patterns)
    }
    outer = [name for name in matches if not _ancestors(name) & matches.keys()]
    return {name: matches[name] for name in outer}


def _ancestors(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


@contextmanager
def recorded(layers: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect the output of each layer in forward passes within the block."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: outputs.__setitem__(name, output)

    handles = [module.register_forward_hook(keep(name)) for name, module in layers.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


class _Reached(Exception):
    """Exception that carries a layer's output out of a forward pass and ends it."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def until(network: nn.Module, layer: str, images: Tensor, *, before: bool = False) -> Tensor:
    """Return the output of a layer for images, with a graph; later layers do not run.

    Args:
        network: any network.
        layer: name of the layer.
        images: ``(B, C, spatial...)``.
        before: return the layer's input; the layer itself does not run.

    Raises:
        ConfigError: If there is no such layer, or the forward pass does not run it.
    """
    (module,) = named_layers(network, [layer]).values()

    def stop(_module: nn.Module, given: tuple[Tensor, ...], output: Tensor | None = None) -> None:
        raise _Reached(given[0] if output is None else output)

    hook = module.register_forward_pre_hook if before else module.register_forward_hook
    handle = hook(stop)
    try:
        network(images)
    except _Reached as reached:
        return reached.output
    finally:
        handle.remove()
    raise ConfigError(f"layer {layer!r} does not run", expected="a layer of the forward pass")


class Replay(nn.Module):
    """Placeholder for a layer that returns a stored output and ignores its input."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Tensor | None = None

    def forward(self, *_: Tensor) -> Tensor | None:
        """Return the stored output."""
        return self.output


def with_replayed(
    network: nn.Module, layers: dict[str, nn.Module]
) -> tuple[nn.Module, dict[str, Replay]]:
    """Copy a network except for some layers, whose outputs are replayed instead of computed.

    The copy of a U-Net with its encoder replayed is a decoder of its own: it holds the decoder's
    weights only.

    Returns:
        The copy (its forward pass needs an input of the right shape, whose values are not used),
        and the replayed layers.
    """
    replays = {name: Replay() for name in layers}
    memo = {id(module): replays[name] for name, module in layers.items()}
    return copy.deepcopy(unwrapped(network), memo), replays
