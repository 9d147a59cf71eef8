"""What a coarse pass saves on a small structure in a large scan, and whether the labels stay.

The network costs what the bundles' network does, and its answer is known: bright voxels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from monai_semiseg.benchmarks.measure import Row, add_output, announce, table, write_csv
from monai_semiseg.inferers.coarse_to_fine import CoarseToFineInferer
from monai_semiseg.inferers.tta import TTAInferer

PATCH = (40, 56, 40)


class BrightNetwork(nn.Module):
    """The bundles' network, in whose output the brightness of a voxel weighs more."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = BasicUNet(3, 1, 2, (16, 16, 32, 64, 128, 16))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of background and of what is brighter than 2."""
        answer = torch.cat([2 - images, images - 2], 1)
        return 100 * answer + torch.as_tensor(self.network(images))


def scan(size: Sequence[int]) -> Tensor:
    """Noise of the size of a head, and a block of 30 x 45 x 30 in it."""
    torch.manual_seed(0)
    image = torch.rand((1, 1, *size))
    x, y, z = (slice(n // 3, n // 3 + m) for n, m in zip(size, (30, 45, 30), strict=True))
    image[0, 0, x, y, z] += 3
    return image


def windows(overlap: float) -> SlidingWindowInferer:
    """Windows of the bundles' size."""
    return SlidingWindowInferer(PATCH, 4, overlap, mode="gaussian")


def measure(size: Sequence[int], factors: Sequence[float]) -> tuple[list[Row], dict[str, int]]:
    """Seconds of all windows and of two passes at each factor; voxels whose label differs."""
    network, image = BrightNetwork().eval(), scan(size)
    fine = TTAInferer(windows(0.5), [0])
    inferers: dict[str, Inferer] = {"all windows": fine}
    for factor in factors:
        inferers[f"two passes, 1/{factor:g}"] = CoarseToFineInferer(fine, windows(0.0), factor)
    rows, labels = [], {}
    for name, inferer in inferers.items():
        begun = time.perf_counter()
        with torch.inference_mode():
            labels[name] = torch.as_tensor(inferer(image, network)).argmax(1)
        rows.append(Row(name, time.perf_counter() - begun, 0.0))
    whole = labels["all windows"]
    return rows, {name: int((found != whole).sum()) for name, found in labels.items()}


def main() -> None:
    """Print and write the table, and how many voxels get another label."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--size", type=int, nargs=3, default=[224, 224, 160])
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 2.0])
    args = parser.parse_args()
    announce(1.4e-5 * args.size[0] * args.size[1] * args.size[2])
    rows, changed = measure(args.size, args.factors)
    write_csv(rows, args.output / "coarse_to_fine.csv")
    sys.stdout.write(f"{' x '.join(map(str, args.size))} voxels\n{table(rows, 'all windows')}")
    for name, voxels in changed.items():
        sys.stdout.write(f"{name}: {voxels} voxels with another label\n")


if __name__ == "__main__":
    main()
