"""Features of any network, found by tracing a forward pass: the deepest map, the map of the head.

The forward pass computes shapes only (torch's ``meta`` device), so it takes neither memory nor
random numbers, and changes no statistics. Only a copy of a network that reads values on its way is
run with values.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.outputs import finest
from monai_semiseg.networks.weights import unwrapped

_BATCH = 2  # images of a traced pass: batch normalisation refuses one value per channel


@dataclass(frozen=True)
class Feature:
    """Place of a feature map in a network.

    Attributes:
        layer: name of a module, as in ``network.named_modules()``.
        before: the map is the module's input, not its output.
        channels: of the map.
    """

    layer: str
    before: bool
    channels: int


@dataclass(frozen=True)
class _Run:
    """One run of a module: its name, itself, and the shapes of its input and output."""

    name: str
    module: nn.Module
    given: tuple[int, ...]
    made: tuple[int, ...]


def output_shape(
    network: nn.Module, image_size: Sequence[int], *, training: bool = True
) -> tuple[int, ...]:
    """Return the shape of the logits of two images of one size; nothing is computed.

    Args:
        network: any network.
        image_size: ``(channels, spatial...)``.
        training: in training mode, in which normalisation refuses maps of one voxel.

    Raises:
        ConfigError: If there is no map among the outputs. The network's own error if it does not
            take such images.
    """
    output = _forward(network, image_size, training=training)
    return tuple(finest(output, len(image_size) - 1).shape)


def deepest(network: nn.Module, image_size: Sequence[int]) -> Feature:
    """Find the end of the encoder: the last output among those with the fewest sites.

    A site is a voxel of a feature map or a token of a transformer. Maps of one site are left out if
    there are others: they come from pooling over the whole image (squeeze and excitation).

    Args:
        network: any network.
        image_size: ``(channels, spatial...)``, the patch of the training.

    Raises:
        ConfigError: If no module returns a feature map.
    """
    axes = len(image_size) - 1
    runs = [run for run in _runs(network, image_size) if _is_features(run, axes)]
    several = [run for run in runs if _sites(run, axes) > 1] or runs
    if not several:
        raise ConfigError(
            f"no module of {type(unwrapped(network)).__name__} returns a feature map",
            expected="a network built of modules",
            remedy="name a layer with the key layer",
        )
    fewest = min(_sites(run, axes) for run in several)
    last = [run for run in several if _sites(run, axes) == fewest][-1]
    return Feature(last.name, False, _channels(last.made, axes))


def before_head(network: nn.Module, image_size: Sequence[int]) -> Feature:
    """Find the last features of the decoder: the input of the output head.

    The head is the last convolution that runs; and those that run before it, as long as what they
    pass on has no more channels than the output.

    Args:
        network: any network.
        image_size: ``(channels, spatial...)``, the patch of the training.

    Raises:
        ConfigError: If the network has no convolution.
    """
    runs = [run for run in _runs(network, image_size) if isinstance(run.module, _ConvNd)]
    if not runs:
        raise ConfigError(
            f"{type(unwrapped(network)).__name__} runs no convolution",
            expected="a network whose output is made by a convolution",
            remedy="name the layer with the key layer",
        )
    classes = runs[-1].made[1]
    first = next((run for run in reversed(runs) if run.given[1] != classes), runs[0])
    return Feature(first.name, True, first.given[1])


def feature_at(network: nn.Module, layer: str, image_size: Sequence[int]) -> Feature:
    """Return the output of a named layer as a feature, with its channels.

    Raises:
        ConfigError: If the layer does not run, or returns no map.
    """
    axes = len(image_size) - 1
    made = [run.made for run in _runs(network, image_size) if run.name == layer]
    if not made or not (_is_map(made[0], axes) or len(made[0]) == 3):
        raise ConfigError(
            f"layer {layer!r} {'returns no feature map' if made else 'does not run'}",
            expected="a layer of the forward pass with one map as output",
        )
    return Feature(layer, False, _channels(made[0], axes))


def _channels(shape: tuple[int, ...], axes: int) -> int:
    return shape[1 if _is_map(shape, axes) else 2]


def _is_features(run: _Run, axes: int) -> bool:
    """Return whether an output is a map with channels first, or a sequence of tokens.

    Layers of transformers may hold channels last; such maps look the same and are left out.
    """
    if not run.name or not run.made or run.made[0] != _BATCH:
        return False
    if len(run.made) == 3:
        return True
    mixed = any(isinstance(one, nn.Linear | nn.LayerNorm) for one in run.module.modules())
    return _is_map(run.made, axes) and not mixed


def _is_map(shape: tuple[int, ...], axes: int) -> bool:
    return len(shape) == axes + 2


def _sites(run: _Run, axes: int) -> int:
    return math.prod(run.made[2:]) if _is_map(run.made, axes) else run.made[1]


def _runs(network: nn.Module, image_size: Sequence[int]) -> list[_Run]:
    """Return the runs of all modules in the order in which they end."""
    runs: list[_Run] = []

    def recorder(name: str) -> Callable[..., None]:
        def record(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            runs.append(_Run(name, module, _shape(given[0] if given else None), _shape(made)))

        return record

    def watch(copied: nn.Module) -> None:
        runs.clear()
        for name, module in copied.named_modules():
            module.register_forward_hook(recorder(name))

    _forward(network, image_size, training=False, watch=watch)
    return runs


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _without_values(network: nn.Module) -> nn.Module:
    """Copy a network whose weights have shapes, but no values."""
    plain = unwrapped(network)
    memo: dict[int, Any] = {
        id(one): nn.Parameter(torch.empty_like(one, device="meta"), requires_grad=False)
        for one in plain.parameters()
    }
    memo |= {id(one): torch.empty_like(one, device="meta") for one in plain.buffers()}
    return copy.deepcopy(plain, memo).to("meta")


@torch.no_grad()
def _forward(
    network: nn.Module,
    image_size: Sequence[int],
    *,
    training: bool,
    watch: Callable[[nn.Module], None] | None = None,
) -> Any:
    """Run a copy of a network on shapes; with values, if it reads some on its way.

    Args:
        network: any network.
        image_size: ``(channels, spatial...)``.
        training: mode of the copy.
        watch: called with the copy before it runs.
    """
    for copied in (_without_values, _with_values):
        one = copied(network).train(training)
        if watch is not None:
            watch(one)
        device = next((value.device for value in one.parameters()), torch.device("cpu"))
        try:
            return one(torch.zeros((_BATCH, *image_size), device=device))
        except (NotImplementedError, RuntimeError) as error:
            reads_values = isinstance(error, NotImplementedError) or "meta" in str(error)
            if device.type != "meta" or not reads_values:
                raise
    raise ConfigError("a network of shapes alone", expected="a network with weights")


def _with_values(network: nn.Module) -> nn.Module:
    return copy.deepcopy(unwrapped(network))
