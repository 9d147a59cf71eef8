"""Embeddings from a layer of a network, by a projection head that is discarded afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.features import Feature, before_head, deepest, feature_at
from monai_semiseg.networks.taps import named_layers, until


class Embedder(nn.Module):
    """Network up to one layer, with a projection head on that layer's output.

    With h the layer's features: ``z = W2 relu(W1 h)``, one vector per voxel, ``(B, dimension,
    spatial...)``, by 1 x 1 convolutions; or, ``pooled``, one per scan, ``z = W2 relu(norm(W1
    mean(h)))`` with h averaged over all voxels and batch normalisation. Layers after the named one
    do not run, and get no gradient. Where features are coarser than the images, the vectors of
    voxels are interpolated.

    Without a layer's name, h is the deepest map of the network if it is ``pooled``, and else the
    input of its output head (:mod:`monai_semiseg.networks.features`).

    Without batch normalisation, global contrast does not start to learn on a network with instance
    normalisation: the means over all voxels then differ little between scans.

    Args:
        network: any network; it is trained in place, and keeps its own names and keys.
        layer: name of the layer, as in ``network.named_modules()``; None: see above.
        channels: of the layer's output; None: as found.
        spatial_dims: 2 or 3.
        pooled: see above.
        dimension: of the embeddings.
        patch_size: spatial size of an image, voxels; needed where the layer or its channels are to
            be found.
        in_channels: of an image, likewise.

    Raises:
        ConfigError: If there is no such layer, its output has other channels, or what is needed to
            find it is absent.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str | None = None,
        channels: int | None = None,
        spatial_dims: int = 3,
        pooled: bool = True,
        dimension: int = 128,
        patch_size: Sequence[int] | None = None,
        in_channels: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        image_size = None if patch_size is None else [in_channels, *patch_size]
        self.feature = _feature(network, layer, channels, image_size, pooled)
        self.pooled = pooled
        self.spatial_dims = spatial_dims
        width = self.feature.channels
        if pooled:
            self.head = nn.Sequential(
                nn.Linear(width, width),
                nn.BatchNorm1d(width),
                nn.ReLU(inplace=True),
                nn.Linear(width, dimension),
            )
        else:
            point: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
            self.head = nn.Sequential(
                point(width, width, 1), nn.ReLU(inplace=True), point(width, dimension, 1)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Embed images ``(B, C, spatial...)``."""
        place = self.feature
        features = until(self.network, place.layer, images, before=place.before)
        is_map = features.ndim == images.ndim
        found = features.shape[1 if is_map else -1]
        if found != place.channels:
            raise ConfigError(
                f"the {'input' if place.before else 'output'} of layer {place.layer!r} has {found} "
                "channels",
                expected=f"{place.channels}",
                remedy=f"set channels to {found}",
            )
        if self.pooled:
            means = features.flatten(2).mean(2) if is_map else features.mean(1)  # of tokens
            pooled: Tensor = self.head(means)
            return pooled
        embeddings: Tensor = self.head(features)
        return _of_size(embeddings, images)


def _feature(
    network: nn.Module,
    layer: str | None,
    channels: int | None,
    image_size: Sequence[int] | None,
    pooled: bool,
) -> Feature:
    """Return the place of the features: as named, or found."""
    if layer is not None:
        named_layers(network, [layer])
        if channels is not None:
            return Feature(layer, False, channels)
    if image_size is None:
        raise ConfigError(
            "no layer and channels to embed",
            expected="layer and channels, or patch_size and in_channels to find them",
        )
    if layer is not None:
        return feature_at(network, layer, image_size)
    found = (deepest if pooled else before_head)(network, image_size)
    return found if channels is None else replace(found, channels=channels)


def _of_size(embeddings: Tensor, images: Tensor) -> Tensor:
    """Interpolate a map to the size of the images, if it has another."""
    size = images.shape[2:]
    if embeddings.shape[2:] == size:
        return embeddings
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return functional.interpolate(embeddings, size, mode=mode, align_corners=False)
