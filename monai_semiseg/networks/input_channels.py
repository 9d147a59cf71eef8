"""Weights for images of one channel in a network for several."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

logger = logging.getLogger(__name__)


def with_input_channels(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return weights for one channel with convolutions of the input for a network's channels.

    Their kernels are repeated for every channel and divided by the number of channels: on an image
    that is the same in all channels, the network answers as the old one does. The change is logged.

    Args:
        state: tensors by the network's names.
        network: the network to load them into, without a wrapper.

    Returns:
        The tensors; unchanged if the numbers of channels agree, or the weights have several.
    """
    layers = {
        f"{name}.weight": layer
        for name, layer in network.named_modules()
        if isinstance(layer, _ConvNd) and not layer.transposed and layer.groups == 1
    }
    channels = next((layer.in_channels for layer in layers.values()), 1)
    wider = {
        name: state[name].expand(layer.weight.shape) / channels
        for name, layer in layers.items()
        if channels > 1 and layer.in_channels == channels and _is_of_one(state.get(name), layer)
    }
    if wider:
        logger.warning(
            "weights for one channel: %s repeated for %d channels, and divided by their number",
            ", ".join(wider),
            channels,
        )
    return {**state, **wider}


def _is_of_one(kernel: Tensor | None, layer: _ConvNd) -> bool:
    """Return True if a kernel is the layer's for one channel."""
    own = layer.weight.shape
    return kernel is not None and kernel.shape == (own[0], 1, *own[2:])
