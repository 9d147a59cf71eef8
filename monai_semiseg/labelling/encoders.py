"""Encoders: the deepest features of a bundle's network, and a TorchScript module of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from monai.data.utils import dense_patch_slices
from monai.transforms import SpatialPad
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from monai_semiseg.bundles.recipe import WorkflowRecipe
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.grid import in_ras_order
from monai_semiseg.images.volume import Volume
from monai_semiseg.labelling.features import Floats
from monai_semiseg.networks.taps import recorded
from monai_semiseg.networks.weights import load_weights

_BATCH = 4
_MOST_SLICES = 24  # of a scan, for a 2-D network


class BundleEncoder(WorkflowRecipe):
    """Open a bundle's network with its weights: :class:`NetworkFeatures`.

    Weights of a pretraining may lack the head, or have one of another form.
    """

    def open(self) -> NetworkFeatures:
        """Load the network.

        Raises:
            ConfigError: If the bundle or a key is unknown.
            CheckpointError: If no tensor fits.
        """
        workflow = self.parts("inference")
        network = network_of(workflow, strict=False)
        get = workflow.parser.get_parsed_content
        return NetworkFeatures(
            network, get("preprocessing"), get("patch_size"), get("slice_axis"), get("device")
        )


class NetworkFeatures:
    """Return the mean and the standard deviation of a network's deepest features.

    The deepest layer is the last one whose output has the fewest voxels, in a U-Net the bottleneck.
    The image is read and normalised as the bundle does before it predicts; the network goes over
    patches side by side, a 2-D network over evenly spaced slices of a scan.

    Args:
        network: on its device.
        preprocessing: from files to network input, on the key ``image``.
        patch_size: of the network, one number an axis.
        slice_axis: axis of the slices for a 2-D network.
        device: of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Callable[[dict[str, Any]], dict[str, Any]],
        patch_size: Sequence[int],
        slice_axis: int = 2,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network = network.eval()
        self.preprocessing = preprocessing
        self.patch_size = [int(size) for size in patch_size]
        self.slice_axis = slice_axis
        self.device = torch.device(device)
        self._layer: dict[str, nn.Module] = {}

    @torch.inference_mode()
    def __call__(self, files: Sequence[str], image: Volume) -> Floats:
        """Return two numbers for each channel of the deepest layer."""
        ready = self.preprocessing({"image": files[0] if len(files) == 1 else list(files)})
        plain = convert_to_tensor(ready["image"], track_meta=False)
        found = [self._deepest(batch) for batch in self._batches(plain)]
        rows = torch.cat(found, 1)  # (channels, voxels of all patches)
        # Of one voxel the deviation is 0; divided by n - 1 it would be NaN.
        spread, mean = torch.std_mean(rows, 1, correction=0)
        return np.asarray(torch.cat([mean, spread]).cpu(), np.float32)

    def _batches(self, image: Tensor) -> Iterator[Tensor]:
        """Yield patches ``(batch, channels, spatial...)`` of one image."""
        if image.ndim - 1 == len(self.patch_size) + 1:
            slices = image.movedim(1 + self.slice_axis, 0)
            chosen = np.linspace(0, len(slices) - 1, min(_MOST_SLICES, len(slices))).round()
            images = [slices[int(at)] for at in chosen]
        else:
            images = [image]
        patches: list[Tensor] = []
        for one in images:
            whole = convert_to_tensor(SpatialPad(self.patch_size)(one), track_meta=False)
            places = dense_patch_slices(whole.shape[1:], self.patch_size, self.patch_size)
            patches += [whole[(slice(None), *place)] for place in places]
        for start in range(0, len(patches), _BATCH):
            yield torch.stack(patches[start : start + _BATCH])

    def _deepest(self, batch: Tensor) -> Tensor:
        """Return the features of the deepest layer, ``(channels, voxels)``."""
        batch = batch.to(self.device)
        if not self._layer:
            self._layer = deepest_layer(self.network, batch)
        with recorded(self._layer) as outputs:
            self.network(batch)
        (features,) = outputs.values()
        return features.float().transpose(0, 1).flatten(1)


def deepest_layer(network: nn.Module, batch: Tensor) -> dict[str, nn.Module]:
    """Return the last layer whose output has the fewest voxels, by name.

    Args:
        network: whose layers are searched.
        batch: images that it takes.

    Raises:
        ConfigError: If no layer has an output of as many axes as the images.
    """
    modules = {name: module for name, module in network.named_modules() if name}
    with recorded(modules) as outputs:
        network(batch)
    sizes = {
        name: output.shape[2:].numel()
        for name, output in outputs.items()
        if isinstance(output, Tensor) and output.ndim == batch.ndim
    }
    if not sizes:
        raise ConfigError("a network without layers", expected="a convolutional network")
    least = min(sizes.values())
    name = [name for name, size in sizes.items() if size == least][-1]
    return {name: modules[name]}


def network_of(workflow: ConfigWorkflow, *, strict: bool) -> nn.Module:
    """Return the network of an inference workflow with its weights, in evaluation mode."""
    get = workflow.parser.get_parsed_content
    network: nn.Module = get("network")
    load_weights(network, str(get("ckpt_path")), strict=strict)
    return network.eval()


@dataclass(frozen=True)
class ScriptEncoder:
    """Open a TorchScript module that the user exported: :class:`ScriptFeatures`.

    Attributes:
        path: the file.
        device: to run on.
    """

    path: Path
    device: str = "cpu"

    def open(self) -> ScriptFeatures:
        """Load the module.

        Raises:
            ConfigError: If the file holds no TorchScript module.
        """
        return ScriptFeatures(self.path, self.device)


class ScriptFeatures:
    """Run a TorchScript module.

    It gets one image, float32, ``(1, channels, i, j, k)`` with axes to the right, anterior and
    superior, or ``(1, channels, rows, columns)`` of a 2-D image, each channel with mean 0 and
    standard deviation 1. Cropping and resizing are up to the module. An output ``(1, n, ...)``
    with further axes is averaged over these.

    Args:
        path: the file.
        device: to run on.

    Raises:
        ConfigError: If the file holds no TorchScript module.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        try:
            load: Callable[..., nn.Module] = torch.jit.load
            self.module = load(str(path), map_location=self.device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise ConfigError(
                f"no TorchScript module ({str(error).splitlines()[0]})",
                expected="a file of torch.jit.save",
                remedy="torch.jit.trace(encoder, example).save('encoder.ts')",
                path=path,
            ) from error

    @torch.inference_mode()
    def __call__(self, files: Sequence[str], image: Volume) -> Floats:
        """Return what the module makes of an image, one axis."""
        output = self.module(self._input(image).to(self.device))
        features = output.float()[0]
        if features.ndim > 1:
            features = features.flatten(1).mean(1)
        return np.asarray(features.cpu(), np.float32)

    def _input(self, image: Volume) -> Tensor:
        voxels = np.asarray(in_ras_order(image.array, image.affine), np.float32)
        channels = np.moveaxis(voxels, 3, 0) if image.channels else voxels[None]
        if image.spatial_dims == 2:
            if image.meta.get("format") == "picture":
                channels = channels.swapaxes(1, 2)  # axis i runs along the rows
            thin = [axis for axis in (3, 2, 1) if channels.shape[axis] == 1]
            channels = channels.squeeze(thin[0])
        tensor = torch.from_numpy(np.ascontiguousarray(channels))
        spread, mean = torch.std_mean(tensor, tuple(range(1, tensor.ndim)), keepdim=True)
        return ((tensor - mean) / spread.clamp_min(1e-6))[None]
