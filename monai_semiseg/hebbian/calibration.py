"""Data-dependent calibration: standardise the output of every layer in one forward pass."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.geometry import Convolution
from monai_semiseg.hebbian.layers import selected
from monai_semiseg.hebbian.lengths import scale_filters

logger = logging.getLogger(__name__)


@torch.no_grad()
def calibrate(
    network: nn.Module,
    images: Tensor,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] | None = None,
    layers: Mapping[str, Convolution] | None = None,
    run: Callable[[Tensor], object] | None = None,
) -> dict[str, tuple[float, float]]:
    """Rescale convolutions so that every output channel is standardised on ``images``.

    With mean ``m_o`` and standard deviation ``s_o`` of output channel o over scans and voxels::

        W_o <- W_o / s_o        b_o <- (b_o - m_o) / s_o

    A layer is linear, so its output can be corrected at once, and later layers get the corrected
    output: one pass calibrates all layers. A layer without a bias is only rescaled; a constant
    channel is not changed. Local rules determine the direction of filters, not their length;
    without calibration, activations grow along residual paths without normalisation, and an
    optimiser's steps are too large or too small for the weights. Compare Mishkin and Matas, All you
    need is a good init (ICLR 2016); Krahenbuhl et al., Data-dependent initializations of CNNs (ICLR
    2016).

    Args:
        network: any network; its modes and hooks are restored afterwards.
        images: unlabelled scans, ``(B, C, spatial...)``; all statistics are theirs.
        include: patterns of layers, see :func:`~monai_semiseg.hebbian.layers.selected`.
        exclude: patterns of layers to leave out; None: the output head.
        layers: the layers themselves, instead of patterns.
        run: forward pass of images; the network itself by default.

    Returns:
        For every layer, mean absolute mean and mean standard deviation of its output before the
        correction.

    Raises:
        ConfigError: If no layer varies on these images, or a pattern matches nothing.
    """
    chosen = dict(selected(network, include, exclude) if layers is None else layers)
    found: dict[str, tuple[float, float]] = {}
    handles = [
        layer.register_forward_hook(_corrector(name, layer, found))
        for name, layer in chosen.items()
    ]
    try:
        with _batch_statistics(network):
            (run or network)(images)
    finally:
        for handle in handles:
            handle.remove()
    if not any(deviation > 0 for _, deviation in found.values()):
        raise ConfigError(
            "no layer's output varies on the given images",
            expected="scans with content",
            remedy="check the scans with monai-semiseg check",
        )
    return found


@contextmanager
def _batch_statistics(network: nn.Module) -> Iterator[None]:
    """Normalise by batch statistics, without dropout, within the block."""
    modes = {module: module.training for module in network.modules()}
    network.train()  # running statistics of batch normalisation follow
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _corrector(name: str, layer: Convolution, found: dict[str, tuple[float, float]]) -> Any:
    def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if name in found:  # a layer that runs twice is calibrated on its first run
            return None
        mean, deviation = _moments(output)
        found[name] = (float(mean.abs().mean()), float(deviation.mean()))
        varies = deviation > 1e-6 * deviation.max()
        factor = torch.where(varies, 1 / deviation.clamp_min(1e-30), 1.0).to(layer.weight.dtype)
        scale_filters(layer, factor)
        shift = torch.zeros_like(factor)
        if layer.bias is not None:
            shift = torch.where(varies, -mean.to(factor.dtype), 0.0)
            layer.bias.copy_((layer.bias + shift) * factor)
        shape = (1, -1, *[1] * (output.ndim - 2))
        corrected: Tensor = (output + shift.reshape(shape)) * factor.reshape(shape)
        return corrected

    return hook


def _moments(output: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per channel, over scans, voxels and processes."""
    axes = [0, *range(2, output.ndim)]
    values = output.float() if output.dtype != torch.float64 else output
    count = torch.tensor(float(values[:, 0].numel()), device=values.device, dtype=torch.float64)
    mean = _over_processes(values.sum(axes).double()) / _over_processes(count)
    centred = values - mean.to(values.dtype).reshape(1, -1, *[1] * (output.ndim - 2))
    squares = _over_processes(torch.linalg.vector_norm(centred, dim=axes).double() ** 2)
    deviation = (squares / count).sqrt()
    above_rounding = deviation > 1e-6 * mean.abs()
    return mean, deviation * above_rounding


def _over_processes(value: Tensor) -> Tensor:
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(value)
    return value
