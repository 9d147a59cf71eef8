"""Auxiliary decoders and heads that a method trains beside a network and does not ship."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from monai_semiseg.networks.taps import named_layers, recorded, with_replayed
from monai_semiseg.networks.weights import unwrapped


class PerturbedDecoders(nn.Module):
    """Auxiliary decoders of a network, each fed with perturbed features of the network's encoder.

    Perturbations, one decoder each (Ouali et al., CVPR 2020): feature noise ``f (1 + n)``, ``n ~
    U(-0.3, 0.3)``; dropout of whole channels with probability 0.3; and dropping the most active
    voxels, where the mean over channels exceeds ``U(0.7, 0.9)`` of its maximum.

    Args:
        network: any network in which encoder layers can be named.
        encoder: names or shell patterns of the layers whose outputs the decoder reads (the skips
            included).
    """

    def __init__(self, network: nn.Module, encoder: Sequence[str]) -> None:
        super().__init__()
        self._layers = named_layers(network, encoder)
        self.perturbations = (feature_noise, feature_dropout, feature_drop)
        copies = [with_replayed(network, self._layers) for _ in self.perturbations]
        self.decoders = nn.ModuleList(copy for copy, _ in copies)
        self._replays = [replays for _, replays in copies]
        self.decoders.apply(_draw_again)

    def forward(
        self, network: nn.Module, images: Tensor, first: int = 0
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the network's logits for all images, the decoders' for those from ``first`` on."""
        with recorded(self._layers) as features:
            logits = network(images)
        rest = images[first:]
        outputs = []
        for decoder, replays, perturb in zip(
            self.decoders, self._replays, self.perturbations, strict=True
        ):
            for name, replay in replays.items():
                replay.output = perturb(features[name][first:])
            outputs.append(decoder(rest))
            for replay in replays.values():
                replay.output = None
        return logits, outputs


def feature_noise(features: Tensor, limit: float = 0.3) -> Tensor:
    """Multiply by ``1 + n``, one ``n ~ U(-limit, limit)`` per channel and voxel for the batch."""
    return features * (1 + torch.empty_like(features[0]).uniform_(-limit, limit))


def feature_dropout(features: Tensor, probability: float = 0.3) -> Tensor:
    """Drop whole channels and scale up the rest."""
    shape = (*features.shape[:2], *[1] * (features.ndim - 2))
    keep = torch.rand(shape, device=features.device) >= probability
    return features * keep / (1 - probability)


def feature_drop(features: Tensor) -> Tensor:
    """Set the most active voxels of every sample to zero."""
    attention = features.mean(1, keepdim=True)
    limit = attention.amax(tuple(range(1, features.ndim)), keepdim=True)
    share = torch.empty((), device=features.device).uniform_(0.7, 0.9)
    return features * (attention < limit * share)


def _draw_again(module: nn.Module) -> None:
    """Draw new initial weights for a copied layer."""
    if callable(reset := getattr(module, "reset_parameters", None)):
        reset()


class PyramidHeads(nn.Module):
    """1x1 convolutions on several decoder layers, upsampled to the size of the input.

    Args:
        network: any network.
        layers: names of the decoder layers, from coarse to fine.
        out_channels: classes.
        image_size: ``(channels, spatial...)`` of an input, to learn the layers' channels from one
            forward pass.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        out_channels: int,
        image_size: Sequence[int],
    ) -> None:
        super().__init__()
        self._layers = named_layers(network, layers)
        parameter = next(network.parameters())
        with torch.no_grad(), recorded(self._layers) as features:
            was = network.training
            unwrapped(network).eval()(torch.zeros((1, *image_size), device=parameter.device))
            network.train(was)
        convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(image_size) - 1]
        heads = [convolution(features[name].shape[1], out_channels, 1) for name in self._layers]
        self.heads = nn.ModuleList(heads).to(parameter.device)

    def forward(self, network: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the network's logits, and every head's at full size."""
        with recorded(self._layers) as features:
            logits = network(images)
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[images.ndim - 2]
        outputs = [
            functional.interpolate(
                head(features[name]).float(), images.shape[2:], mode=mode, align_corners=False
            )
            for head, name in zip(self.heads, self._layers, strict=True)
        ]
        return logits, outputs
