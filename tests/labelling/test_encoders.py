"""Features of networks: the deepest layer of a bundle's, and whatever a TorchScript module says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.images.volume import Volume
from monai_semiseg.labelling.encoders import (
    BundleEncoder,
    NetworkFeatures,
    ScriptEncoder,
    deepest_layer,
)

ROOT = Path(__file__).resolve().parents[2]


def small_unet(dims: int) -> nn.Module:
    torch.manual_seed(0)
    return BasicUNet(dims, 1, 2, features=(4, 4, 4, 4, 6, 4)).eval()


def test_the_bottleneck_of_a_unet() -> None:
    (name,) = deepest_layer(small_unet(3), torch.zeros(1, 1, 32, 32, 32))
    assert name == "down_4"
    with pytest.raises(ConfigError, match="without layers"):
        deepest_layer(nn.Flatten(), torch.zeros(1, 1, 16, 16))


def test_patches_side_by_side_and_slices() -> None:
    """Compare mean and deviation over all patches with those computed one by one."""
    image = torch.randn(1, 64, 32, 32)

    def ready(item: dict[str, object]) -> dict[str, object]:
        return {"image": image}

    network = small_unet(3)
    encode = NetworkFeatures(network, ready, (32, 32, 32))
    found = encode(["a.nii"], Volume(np.zeros(1), np.eye(4)))
    deep: list[Tensor] = []
    handle = network.down_4.register_forward_hook(lambda *call: deep.append(call[2]))
    with torch.no_grad():
        network(image[None, :, :32])
        network(image[None, :, 32:])
    handle.remove()
    rows = torch.cat([one[0].flatten(1) for one in deep], 1)
    assert np.allclose(
        found, np.concatenate([rows.numpy().mean(1), rows.numpy().std(1)]), atol=1e-5
    )
    flat = NetworkFeatures(small_unet(2), ready, (32, 32))
    assert len(flat(["a.nii"], Volume(np.zeros(1), np.eye(4)))) == 12
    batches = list(flat._batches(image))
    assert sum(map(len, batches)) == 24 * 2 and batches[0].shape[1:] == (1, 32, 32)


def test_one_voxel_deep_down_has_no_deviation() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 16))
    encode = NetworkFeatures(network, lambda item: {"image": torch.ones(1, 16, 16)}, (16, 16))
    found = encode(["a.png"], Volume(np.zeros(1), np.eye(4)))
    assert np.isfinite(found).all() and found[:3].any() and not found[3:].any()


def test_weights_of_a_pretraining(tmp_path: Path) -> None:
    """Return features from weights without a head."""
    weights = torch.load(ROOT / "bundles/hebbian_initializer/models/model.pt", weights_only=True)
    part = {name: value for name, value in weights.items() if not name.startswith("final_conv")}
    torch.save(part, tmp_path / "model.pt")
    settings = {"ckpt_path": str(tmp_path / "model.pt"), "device": "$torch.device('cpu')"}
    encode = BundleEncoder(ROOT / "bundles" / "hebbian_initializer", settings, []).open()
    scan = sorted((ROOT / "sample_data" / "dataset").rglob("imagesTr/*.nii.gz"))[0]
    features = encode([str(scan)], Volume(np.zeros(1), np.eye(4)))
    assert features.shape == (256,) and np.isfinite(features).all() and features.std() > 0


class Means(nn.Module):
    """Return the means of an image and of its square."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([image[:, 0], image[:, 0] ** 2], 1)


@pytest.mark.parametrize(
    ("volume", "shape"),
    [
        (Volume(np.arange(24.0).reshape(2, 3, 4), np.diag([-1.0, 1, 1, 1])), (1, 1, 2, 3, 4)),
        (
            Volume(
                np.arange(18.0).reshape(3, 2, 1, 3), np.eye(4), {"format": "picture"}, ("a",) * 3
            ),
            (1, 3, 2, 3),
        ),
    ],
    ids=["scan", "photograph"],
)
def test_a_module_of_the_user(volume: Volume, shape: tuple[int, ...], tmp_path: Path) -> None:
    file = tmp_path / "encoder.ts"
    torch.jit.script(Means()).save(str(file))
    encode = ScriptEncoder(file).open()
    image = encode._input(volume)
    assert image.shape == shape and image.mean().abs() < 1e-6
    if volume.spatial_dims == 3:  # stored from right to left
        assert torch.equal(image[0, 0].argmax(), torch.tensor(11))
    found = encode([], volume)
    count = image[0, 0].numel()
    assert np.allclose(found, [0, (count - 1) / count], atol=1e-5)


def test_no_module(tmp_path: Path) -> None:
    (tmp_path / "x.ts").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="no TorchScript module"):
        ScriptEncoder(tmp_path / "x.ts").open()
