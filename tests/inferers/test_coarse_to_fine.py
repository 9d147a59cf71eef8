"""Two passes give the plain inferer's labels in the box, background outside, and fewer windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.inferers import Inferer, SimpleInferer, SliceInferer, SlidingWindowInferer
from monai.networks.nets import UNet
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.inferers.coarse_to_fine import CoarseToFineInferer
from monai_semiseg.inferers.tta import TTAInferer
from monai_semiseg.inferers.windows import WindowInferer

BOX = (slice(None), slice(None), slice(12, 32), slice(6, 26), slice(6, 28))
SIZE = (60, 52, 44)
WHERE = (slice(20, 24), slice(14, 18), slice(14, 20))


class Network(nn.Module):
    """A U-Net in whose output the brightness of a voxel weighs more; counts the windows it sees."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unet = UNet(dims, 1, 2, (2, 4), (2,)).eval()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return torch.cat([2 - x, x - 2], 1) * 10 + torch.as_tensor(self.unet(x))


def scan(seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    image = torch.rand(1, 1, *SIZE)
    image[0, 0][WHERE] += 4
    return image


def windows(overlap: float) -> Inferer:
    return SlidingWindowInferer((16, 16, 16), 4, overlap, mode="gaussian")


def slices(overlap: float) -> Inferer:
    return SliceInferer(
        spatial_dim=2, roi_size=(16, 16), sw_batch_size=4, overlap=overlap, mode="gaussian"
    )


@pytest.mark.parametrize(
    ("dims", "coarse", "fine"),
    [
        (3, windows(0.0), windows(0.5)),
        pytest.param(3, windows(0.0), TTAInferer(windows(0.5), [0, 1]), marks=pytest.mark.slow),
        (3, SimpleInferer(), TTAInferer(windows(0.25), [2])),
        (2, slices(0.0), slices(0.5)),
        pytest.param(2, slices(0.0), TTAInferer(slices(0.5), [0]), marks=pytest.mark.slow),
    ],
    ids=["windows", "mirrored", "coarse whole", "slices", "mirrored slices"],
)
def test_in_the_box_it_is_the_plain_inferer(dims: int, coarse: Inferer, fine: Inferer) -> None:
    image = scan()
    network = Network(dims)
    with torch.no_grad():
        plain = torch.as_tensor(fine(image, network))
        all_windows = network.seen
        network.seen = 0
        found = CoarseToFineInferer(fine, coarse, margin=8)(image, network)
    assert network.seen < 0.6 * all_windows
    assert found.shape == plain.shape and torch.isfinite(found.half()).all()
    torch.testing.assert_close(found[BOX], plain[BOX], rtol=0, atol=1e-4)
    labels = found.argmax(1)
    assert torch.equal(labels, plain.argmax(1)) and labels.sum() > 50
    labels[BOX[1:]] = 0
    assert not labels.any()


@pytest.mark.parametrize("factor", [1.0, 2.0, 2.5])
def test_a_coarser_grid_finds_the_same_box(factor: float) -> None:
    image = scan()
    network = Network(3)
    with torch.no_grad():
        plain = windows(0.5)(image, network)
        inferer = CoarseToFineInferer(windows(0.5), windows(0.0), factor, margin=8)
        assert torch.equal(inferer(image, network).argmax(1), plain.argmax(1))


def test_what_the_coarse_pass_misses_is_background() -> None:
    class Blind(SimpleInferer):
        def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
            logits = torch.as_tensor(super().__call__(inputs, network))
            logits[:, 0, 30:] = 1e3
            return logits

    image = scan()
    image[0, 0, 50:54, 40:44, 30:34] += 4
    with torch.no_grad():
        labels = CoarseToFineInferer(windows(0.5), Blind())(image, Network(3)).argmax(1)
    assert labels[0][WHERE].all() and not labels[0, 40:].any()


@pytest.mark.parametrize(("level", "most"), [(-9.0, 0.5), (9.0, 0.5), (0.0, 0.05)])
def test_nothing_or_too_much_found_runs_the_image_whole(level: float, most: float) -> None:
    image = scan() + level
    network = Network(3)
    with torch.no_grad():
        plain = windows(0.5)(image, network)
        found = CoarseToFineInferer(windows(0.5), windows(0.0), most=most)(image, network)
    assert torch.equal(found, plain)


def test_a_batch_shares_its_box_and_images_may_have_two_axes() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 1, 64, 64)
    network = Network(2)
    image[0, 0, 10:14, 20:24] += 4
    image[1, 0, 22:26, 30:34] += 4
    fine = SlidingWindowInferer((16, 16), 4, 0.5)
    with torch.no_grad():
        found = CoarseToFineInferer(fine, SimpleInferer(), margin=[4, 2])(image, network)
        plain = fine(image, network)
    box = (slice(None), slice(None), slice(6, 30), slice(18, 36))
    torch.testing.assert_close(found[box], plain[box], rtol=0, atol=1e-4)
    assert torch.equal(found.argmax(1), plain.argmax(1))
    assert (found[:, 0, 30:] == 1e4).all() and (found[:, 0, :, 36:] == 1e4).all()


@pytest.mark.parametrize("wrong", [{"factor": 0.5}, {"most": 1.5}])
def test_settings_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="E_CONFIG"):
        CoarseToFineInferer(SimpleInferer(), SimpleInferer(), **wrong)


class Several(Network):
    """The same network, which returns a list of two maps also in prediction, the final one last."""

    def forward(self, x: Tensor) -> Any:
        final = super().forward(x)
        return [torch.zeros_like(final), final]


def test_a_network_that_returns_several_maps() -> None:
    image = scan()
    coarse, fine = (WindowInferer((16, 16, 16), 4, overlap) for overlap in (0.0, 0.25))
    with torch.no_grad():
        found = CoarseToFineInferer(fine, coarse)(image, Several(3))
        plain = CoarseToFineInferer(fine, coarse)(image, Network(3))
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
