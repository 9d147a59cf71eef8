"""Embeddings from a layer of a network, by a projection head that is discarded afterwards."""

from __future__ import annotations

from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.taps import named_layers, until


class Embedder(nn.Module):
    """Network up to one layer, with a projection head on that layer's output.

    With h the layer's features: ``z = W2 relu(W1 h)``, one vector per voxel, ``(B, dimension,
    spatial...)``, by 1 x 1 convolutions; or, ``pooled``, one per scan, ``z = W2 relu(norm(W1
    mean(h)))`` with h averaged over all voxels and batch normalisation. Layers after the named one
    do not run, and get no gradient.

    Without batch normalisation, global contrast does not start to learn on a network with instance
    normalisation: the means over all voxels then differ little between scans.

    Args:
        network: any network; it is trained in place, and keeps its own names and keys.
        layer: name of the layer, as in ``network.named_modules()``.
        channels: of the layer's output.
        spatial_dims: 2 or 3.
        pooled: see above.
        dimension: of the embeddings.

    Raises:
        ConfigError: If there is no such layer, or its output has other channels.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        channels: int,
        spatial_dims: int = 3,
        pooled: bool = True,
        dimension: int = 128,
    ) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self.channels = channels
        self.pooled = pooled
        self.spatial_dims = spatial_dims
        named_layers(network, [layer])
        if pooled:
            self.head = nn.Sequential(
                nn.Linear(channels, channels),
                nn.BatchNorm1d(channels),
                nn.ReLU(inplace=True),
                nn.Linear(channels, dimension),
            )
        else:
            point: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
            self.head = nn.Sequential(
                point(channels, channels, 1), nn.ReLU(inplace=True), point(channels, dimension, 1)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Embed images ``(B, C, spatial...)``."""
        features = until(self.network, self.layer, images)
        if features.shape[1] != self.channels:
            raise ConfigError(
                f"the output of layer {self.layer!r} has {features.shape[1]} channels",
                expected=f"{self.channels}",
                remedy=f"set channels to {features.shape[1]}",
            )
        embeddings: Tensor = self.head(features.flatten(2).mean(2) if self.pooled else features)
        return embeddings
