"""What a coarse pass saves on a small structure in a large scan, and whether the labels stay.

The network costs what the bundles' network does and answers what is known beforehand: bright voxels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from monai_semiseg.benchmarks.measure import add_output, announce, compare, table, write_csv
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


def scan(size: Sequence[int], device: torch.device) -> Tensor:
    """Noise of the size of a head, and a block of 30 x 45 x 30 in it."""
    torch.manual_seed(0)
    image = torch.rand((1, 1, *size), device=device)
    i, j, k = (slice(n // 3, n // 3 + m) for n, m in zip(size, (30, 45, 30), strict=True))
    image[0, 0, i, j, k] += 3
    return image


def windows(overlap: float) -> SlidingWindowInferer:
    """Windows of the bundles' size."""
    return SlidingWindowInferer(PATCH, 4, overlap, mode="gaussian")


def main() -> None:
    """Print and write the table, and how many voxels get another label."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, nargs=3, default=[160, 176, 120])
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--repeat", type=int, default=1)
    args = parser.parse_args()
    device, voxels = torch.device(args.device), args.size[0] * args.size[1] * args.size[2]
    announce((2 + args.repeat) * 1.5e-5 * voxels)
    network, image = BrightNetwork().to(device).eval(), scan(args.size, device)
    fine = TTAInferer(windows(0.5), [0])
    inferers: dict[str, Inferer] = {"all windows": fine}
    for factor in args.factors:
        inferers[f"coarse pass, 1/{factor:g}"] = CoarseToFineInferer(fine, windows(0.0), factor)
    labels: dict[str, Tensor] = {}

    def way(name: str) -> Callable[[], object]:
        def run() -> None:
            with torch.inference_mode():
                labels[name] = torch.as_tensor(inferers[name](image, network)).argmax(1)

        return run

    rows = compare({name: way(name) for name in inferers}, args.repeat)
    write_csv(rows, args.output / "coarse_to_fine.csv")
    sys.stdout.write(f"{' x '.join(map(str, args.size))} voxels\n{table(rows, 'all windows')}")
    for name, found in labels.items():
        changed = int((found != labels["all windows"]).sum())
        sys.stdout.write(f"{name}: {changed} of {voxels} voxels with another label\n")


if __name__ == "__main__":
    main()
